"""Archives: what was written comes back bit for bit, whole or not at all, and nothing in a file is ever run."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import BaseEstimator

from skfdrmfl.common import archive
from skfdrmfl.common.archive import ArchiveError, read, write
from skfdrmfl.common.tree import registered


@registered
@dataclass(frozen=True)
class Point:
    x: float
    label: object = None
    norm: float = field(init=False, default=0.0)

    def __post_init__(self):
        object.__setattr__(self, "norm", abs(self.x))


@registered
class Spec(BaseEstimator):
    def __init__(self, sizes=(3,), inner=None):
        self.sizes = sizes
        self.inner = inner


class Unregistered(Spec):
    pass


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def same(a, b):
    """Whether b, which was read, has the types, bits and memory order of a."""
    if type(a) is not type(b):
        return False
    match a:
        case np.ndarray() if a.dtype == object:
            return a.shape == b.shape and all(map(same, a.ravel(), b.ravel()))
        case np.ndarray():
            laid_out = ("C_CONTIGUOUS", "F_CONTIGUOUS")
            return (
                (a.dtype, a.shape, a.tobytes("A")) == (b.dtype, b.shape, b.tobytes("A"))
                and all(a.flags[name] == b.flags[name] for name in laid_out)
                and b.flags.writeable
            )
        case np.str_() | np.bytes_():
            return list(a) == list(b)  # == overlooks zeros at the end
        case np.generic():
            return a.dtype == b.dtype and a.tobytes() == b.tobytes()
        case float():
            return struct.pack("d", a) == struct.pack("d", b)
        case list() | tuple():
            return len(a) == len(b) and all(map(same, a, b))
        case dict():
            return same(list(a.items()), list(b.items()))
        case set() | frozenset():
            return a == b and sorted(map(repr, a)) == sorted(map(repr, b))
        case slice():
            return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
        case Point() | Spec():
            return same(vars(a), vars(b))
    return a == b


def round_trip(content):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "a", content, kind="test")
        assert os.listdir(folder) == ["a"]
        return read(Path(folder) / "a", kind="test")


# ----------------------------------------------------------------------------------------------- round trips

odd_floats = st.sampled_from([math.inf, -math.inf, math.nan, -math.nan, -0.0, 5e-324, 2**53 + 1.0])
numbers = st.one_of(
    st.integers(), st.integers(60, 9000).map(lambda n: -(2**n) + 1), st.floats(), odd_floats, st.booleans()
)
# Surrogates too, alone and in pairs: they are strings to Python.
texts = st.text(st.characters(), max_size=5) | st.sampled_from(["\ud800\udc00", "\udfff", "\0", "a\0", "", "é"])
dtypes = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.byte_string_dtypes(),
    hnp.array_dtypes(hnp.scalar_dtypes()),
    st.sampled_from([np.dtype("V3"), np.dtype("M8"), np.dtype("m8[25s]"), np.dtype([("ü", "f4", (2,))], align=True)]),
)


@st.composite
def arrays(draw, dtypes=dtypes):
    dtype = draw(dtypes)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    bits = draw(st.binary(min_size=n_bytes, max_size=n_bytes))
    if dtype.kind in "bU" or dtype.names or not dtype.itemsize:  # not every pattern of bits is a value
        return np.asarray(np.zeros(shape, dtype), order=draw(st.sampled_from("CF")))
    return np.ndarray(shape, dtype, bits).copy(order=draw(st.sampled_from("CF")))


scalars = st.one_of(
    st.none(),
    numbers,
    texts,
    st.binary(max_size=5),
    texts.filter(str.isprintable).map(np.str_),
    st.sampled_from([np.str_("a\0"), np.bytes_(b"a\0"), np.bool_(True), np.datetime64("2020-01-01", "ns")]),
    arrays(hnp.scalar_dtypes() | hnp.array_dtypes(hnp.scalar_dtypes())).filter(np.size).map(lambda a: a.flat[0]),
    st.builds(slice, st.none() | st.integers(), st.integers()),
)
keys = st.text(max_size=5) | st.integers() | st.booleans() | st.tuples(st.text(max_size=2), st.none())


def objects(values):
    return st.lists(values, max_size=4).map(lambda entries: np.fromiter(entries, object, len(entries)))


trees = st.recursive(
    st.one_of(scalars, arrays(), objects(scalars), st.sets(keys), st.frozensets(keys)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(Point, st.floats(), inner),
        st.builds(Spec, inner, inner),
    ),
    max_leaves=6,
)


@given(trees)
def test_a_tree_comes_back_with_its_types_and_bits(tree):
    assert same(tree, round_trip(tree))


@given(arrays())
def test_an_array_of_any_type_keeps_type_shape_order_and_bits(array):
    assert same(array, round_trip(array))


@pytest.mark.parametrize(
    "array",
    [
        np.array([["a", "bc"], ["", "é"]]),
        np.array([(1, "x"), (2, "yz")], dtype=[("a", ">i2"), ("b", "U3")]),
        np.array([True, False]),
        np.zeros(2, [(f"column {i}", "f8") for i in range(800)]),  # a header longer than numpy reads by default
        np.array([[1, "x"], [None, np.int8(3)]], dtype=object),
        np.array(None, dtype=object),
        np.arange(6, dtype=">i4"),
        np.longdouble("0.1") * np.ones(2),
    ],
    ids=lambda array: str(array.dtype)[:30],
)
def test_arrays_of_rarer_types_come_back(array):
    assert same(array, round_trip(array))


@pytest.mark.parametrize(
    "value",
    [np.str_("a\0"), np.bytes_(b"a\0"), 10**5000, -math.nan, np.array((1, "x"), [("a", "i4"), ("b", "U2")])[()]],
    ids=["numpy string", "numpy bytes", "more digits than Python prints", "negative NaN", "structured scalar"],
)
def test_scalars_that_lose_bits_easily_keep_them(value):
    assert same([value], round_trip([value]))


def test_an_array_with_strides_or_mapped_from_disk_comes_back_as_a_plain_one(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(24.0).reshape(4, 6))
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    for view in (mapped, mapped[::2, ::-1], np.arange(3)[::-1], np.broadcast_to(np.float32(2), (3, 3))):
        assert same(np.array(view, order="C"), round_trip(view))


def test_objects_are_built_by_their_class_so_that_its_checks_hold():
    point = round_trip({"a": [Point(-2.0, Spec((1, 2), Point(1.0)))]})["a"][0]
    assert (point.norm, point.label.sizes, point.label.inner.norm) == (2.0, (1, 2), 1.0)


def test_numpy_alone_reads_the_arrays(path):
    write(path, {"a": np.arange(3), "b": (np.eye(2),)}, kind="model")
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(file["archive.json"])["kind"] == "model"
        assert same([np.arange(3), np.eye(2)], [file["0"], file["1"]])


def test_equal_content_gives_equal_files(tmp_path):
    for name in "ab":
        write(tmp_path / name, {"s": {"x", "y", "z"}, "a": np.arange(3)}, kind="test")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as members:
        assert {member.date_time for member in members.infolist()} == {(1980, 1, 1, 0, 0, 0)}  # no clock is read


# ------------------------------------------------------------------------------------------ what does not fit


def itself():
    content: list = []
    content.append(content)
    return content


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ({"parameters": {"encoders": {"nir": len}}}, TypeError, "parameters.encoders.nir is a builtins.builtin_fun"),
        ({"a": [1, (lambda: 1,)]}, TypeError, "a[1][0] is a builtins.function"),
        (Unregistered(), TypeError, "content is a test_archive.Unregistered, which no archive can hold; use joblib."),
        (Spec(inner=Unregistered()), TypeError, "inner is a test_archive.Unregistered"),
        ({1: Point(1.0, type)}, TypeError, "1.label is a builtins.type"),
        (np.ma.array([1], mask=[True]), TypeError, "content is a numpy.ma.MaskedArray of int64"),
        ([np.array([1, len], object)], TypeError, "[0][1] is a builtins.builtin_function"),
        (np.zeros(1, [("a", object)]), TypeError, "content is a numpy.ndarray of [('a', 'O')]"),
        (
            np.zeros(1, np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]})),
            TypeError,
            "content is a numpy.ndarray of {'names'",
        ),
        (np.rec.array([(1, 2.0)])[0], TypeError, "content is a numpy.record of (numpy.record, [('f0'"),
        ({"r": np.random.RandomState(0)}, TypeError, "r is a numpy.random.mtrand.RandomState"),
        ({"f": signal.SIGINT}, TypeError, "f is a signal.Signals"),  # an int, but not only that
        (itself(), ValueError, "content contains itself or is nested too deeply"),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_named_with_its_place_before_anything_is_written(path, content, error, words):
    with pytest.raises(error) as caught:
        write(path, content, kind="model")
    assert str(caught.value).replace("numpy.ma.core.", "numpy.ma.").startswith(words)  # as numpy 1 calls it
    if error is TypeError:
        assert str(caught.value).endswith("use joblib.dump for such a model.")
    assert os.listdir(path.parent) == []


def test_a_spec_that_knows_more_than_its_parameters_is_refused(path):
    spec = Spec()
    spec.fitted_ = 1
    with pytest.raises(TypeError, match=r"^nir has more than its parameters \(fitted_\), which an archive would lose;"):
        write(path, {"nir": spec}, kind="model")


def test_only_classes_that_can_be_rebuilt_are_registered_and_each_under_a_name_of_its_own():
    @dataclass
    class Changing:
        x: float

    class Plain:
        pass

    for cls in (Changing, Plain):
        with pytest.raises(TypeError, match=f"{cls.__name__} is neither a frozen dataclass nor has it get_params;"):
            registered(cls)
    with pytest.raises(ValueError, match="Point is registered already, by test_archive; rename one of the two classes"):
        registered(dataclass(frozen=True)(type("Point", (), {"__module__": "elsewhere"})))
    assert registered(Point) is Point  # again, as when a module is loaded anew


# --------------------------------------------------------------------------------------------- all or nothing


@pytest.fixture(params=["new", "over an older file"])
def before(request, path):
    if request.param != "new":
        write(path, "older", kind="model")
    return {name.name: name.read_bytes() for name in path.parent.iterdir()}


def fail(error):
    def function(*args, **kwargs):
        raise error

    return function


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "skfdrmfl.common.archive.npy.write_array"])
def test_a_write_that_fails_leaves_everything_as_it_was(monkeypatch, path, before, where, error):
    monkeypatch.setattr(where, fail(error))
    with pytest.raises(type(error)):
        write(path, {"a": np.arange(3)}, kind="model")
    assert {name.name: name.read_bytes() for name in path.parent.iterdir()} == before


def test_the_bytes_are_on_disk_before_the_file_gets_its_name(monkeypatch, path):
    steps = []
    fsync, replace = os.fsync, os.replace

    def followed_fsync(number):
        steps.append("folder" if os.path.isdir(f"/dev/fd/{number}") else "file")
        fsync(number)

    def followed_replace(source, target):
        steps.append("replace")
        assert Path(source).parent == Path(target).parent  # of one file system
        with zipfile.ZipFile(source) as members:
            assert members.testzip() is None
        replace(source, target)

    monkeypatch.setattr(os, "fsync", followed_fsync)
    monkeypatch.setattr(os, "replace", followed_replace)
    write(path, np.arange(3), kind="model")
    if os.name == "posix":
        assert steps == ["file", "replace", "folder"]


def test_a_folder_that_cannot_be_synchronised_is_no_failure(monkeypatch, path):
    monkeypatch.setattr(os, "open", fail(PermissionError(13, "Permission denied")))
    write(path, 1, kind="model")
    assert read(path, kind="model") == 1


@pytest.mark.sampled(3)
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "archive.npy.write_array"])
def test_a_process_killed_while_it_writes_leaves_the_earlier_file(path, where):
    write(path, "older", kind="model")
    code = (
        "import os, signal, sys; import numpy as np; from skfdrmfl.common import archive\n"
        f"{where} = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)\n"
        "archive.write(sys.argv[1], np.arange(9), kind='model')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert read(path, kind="model") == "older"
    left = [name for name in os.listdir(path.parent) if name != path.name]
    assert all(name.startswith(".model.npz.") and name.endswith(".tmp") for name in left)
    write(path, "newer", kind="model")
    assert read(path, kind="model") == "newer"


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are POSIX's")
def test_a_file_has_the_usual_permissions_and_a_link_stays_a_link(path):
    (path.parent / "usual").touch()
    path.symlink_to(path.parent / "target.npz")
    write(path, 1, kind="model")
    assert path.is_symlink()
    assert (path.parent / "target.npz").stat().st_mode == (path.parent / "usual").stat().st_mode


# --------------------------------------------------------------------------------------- what is not read


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def tree(**changes):
    return json.dumps({"format": archive.FORMAT, "version": 1, "kind": "model", "content": None} | changes)


class Boom:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was run",)


def npy_with_pickle():
    file = io.BytesIO()
    np.save(file, np.array([Boom()]), allow_pickle=True)
    return file.getvalue()


def test_pickles_are_never_read(path):
    zipped(path, {"archive.json": tree(content={"array": 0}), "0.npy": npy_with_pickle()})
    with pytest.raises(ArchiveError, match=r"is damaged \(ValueError: Object arrays cannot be loaded"):
        read(path, kind="model")
    path.write_bytes(pickle.dumps(Boom()))
    with pytest.raises(ArchiveError, match="is no skfdrmfl archive, or is damaged"):
        read(path, kind="model")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4", npy_with_pickle()], ids=["empty", "text", "zip", "npy"])
def test_files_of_other_programs_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"model\.npz is no skfdrmfl archive.*; pass a file that skfdrmfl has"):
        read(path, kind="model")


def test_a_npz_of_somebody_else_is_refused(path):
    np.savez(path, x=np.arange(3))
    with pytest.raises(ArchiveError, match=r"is no skfdrmfl archive.*There is no item named 'archive\.json'"):
        read(path, kind="model")
    zipped(path, {"archive.json": tree(format="another's")})
    with pytest.raises(ArchiveError, match="is no skfdrmfl archive.*another's"):
        read(path, kind="model")


def test_a_file_that_is_not_there_is_told_as_everywhere(path):
    with pytest.raises(FileNotFoundError, match=r"model\.npz"):
        read(path, kind="model")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(path.parent / "nowhere" / "model.npz", 1, kind="model")


def test_another_kind_and_a_newer_version_are_refused_with_their_remedies(path):
    write(path, 1, kind="checkpoint")
    with pytest.raises(ArchiveError, match=r"npz is a 'checkpoint', not a 'model'; pass a file of the kind 'model'\.$"):
        read(path, kind="model")
    zipped(path, {"archive.json": tree(version=2, content={"a tag of the future": 1})})
    with pytest.raises(ArchiveError, match=r"has format version 2 \(known: 1\); use a newer skfdrmfl\.$"):
        read(path, kind="model")


def test_a_class_that_nothing_has_defined_is_named(path):
    zipped(path, {"archive.json": tree(content={"object": "Pointer", "fields": {}})})
    with pytest.raises(ArchiveError, match="holds a Pointer, a class unknown so far; import the module that defines"):
        read(path, kind="model")


@pytest.mark.parametrize(
    "content",
    [
        {"no such tag": 1},
        {"tuple": [], "list": []},
        {},
        {"array": 0},
        {"array": "../0"},
        {"dict": 3},
        {"items": [[1]]},
        {"items": [[[], 1]]},
        {"objects": [1, 2], "shape": [3]},
        {"object": "Point", "fields": {"z": 1}},
        {"object": "Point", "fields": {"x": "not a number"}},
        {"int": "ten"},
        {"float": "00"},
        {"scalar": ["O", {"bytes": "00"}]},
        {"scalar": ["<f8", {"bytes": "00"}]},
    ],
    ids=str,
)
def test_a_tree_that_was_edited_into_nonsense_is_refused(path, content):
    zipped(path, {"archive.json": tree(content=content)})
    with pytest.raises(ArchiveError, match="is no skfdrmfl archive, or is damaged"):
        read(path, kind="model")


CONTENT = {"a": np.arange(5.0), "b": [1.5, "text", None], "c": np.array(["x", "yz"])}


def test_a_file_cut_off_anywhere_is_refused(path):
    write(path, CONTENT, kind="model")
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(ArchiveError, match="is damaged"):
            read(path, kind="model")


@pytest.mark.slow
def test_no_flipped_bit_gives_other_content(path):
    write(path, CONTENT, kind="model")
    whole = path.read_bytes()
    n_refused = 0
    for n in range(len(whole)):
        path.write_bytes(whole[:n] + bytes([whole[n] ^ 1 << n % 8]) + whole[n + 1 :])
        try:
            assert same(CONTENT, read(path, kind="model"))
        except ArchiveError:
            n_refused += 1
    assert n_refused > len(whole) // 2  # the rest are dates, permissions and the like


def test_a_header_that_says_less_than_there_is_shows_in_the_checksum(path):
    write(path, np.arange(5000), kind="model")  # more than is read ahead
    whole = path.read_bytes()
    assert whole.count(b"'shape': (5000,)") == 1
    path.write_bytes(whole.replace(b"'shape': (5000,)", b"'shape': (2000,)"))
    with pytest.raises(ArchiveError, match=r"is damaged \(BadZipFile: Bad CRC-32"):
        read(path, kind="model")
