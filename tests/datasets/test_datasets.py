"""Laws of the data sets, of the simulated clients and of the stacked table."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from runpy import run_path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import get_data_home
from sklearn.model_selection import GroupKFold

from skfdrmfl.datasets import fetch_corn, load_tecator, make_client_ids, make_simulation, stack_modalities

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def reference(name):
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"the reference copy {name} is not beside the repository, in ../shared/data")
    return path


def prefixes(names):
    return list(dict.fromkeys(name.partition("__")[0] for name in names))


def assert_frame_says_the_same(load):
    """`as_frame` and `return_X_y` change the packing, never a number."""
    arrays, frames = load(), load(as_frame=True)
    assert arrays.frame is None
    assert list(frames.data.columns) == arrays.feature_names
    assert_array_equal(frames.data.to_numpy(), arrays.data)
    assert_array_equal(frames.target.to_numpy(), arrays.target)
    assert frames.target.ndim == arrays.target.ndim
    assert list(frames.frame.columns) == arrays.feature_names + arrays.target_names
    assert frames.frame[arrays.feature_names].equals(frames.data)
    assert prefixes(arrays.feature_names) == list(arrays.modalities)
    for name, columns in arrays.modalities.items():
        assert prefixes(arrays.feature_names[columns]) == [name]
    assert sum(c.stop - c.start for c in arrays.modalities.values()) == arrays.data.shape[1]
    X, y = load(return_X_y=True)
    assert_array_equal(X, arrays.data)
    assert_array_equal(y, arrays.target)
    X, y = load(return_X_y=True, as_frame=True)
    assert X.equals(frames.data)
    assert_array_equal(y.to_numpy(), arrays.target)


# --- Tecator -----------------------------------------------------------------------------------------------


def test_tecator_equals_the_reference_bit_for_bit():
    tecator = load_tecator(["water", "fat", "protein"])
    with np.load(reference("tecator.npz"), allow_pickle=False) as table:
        assert list(table["names"]) == tecator.target_names
        for key, mine in [("X", tecator.data), ("y", tecator.target), ("split", tecator.split)]:
            assert_array_equal(mine, table[key][:215], strict=key != "split")
        assert_array_equal(tecator.wavelengths, table["wavelengths"])
        pairs = set(zip(tecator.groups.tolist(), table["dup_group"][:215].tolist(), strict=True))
    # Equal up to the names of the groups: the pairs are a one-to-one map.
    assert len(pairs) == len({mine for mine, _ in pairs}) == len({theirs for _, theirs in pairs})


def test_tecator_file_is_what_its_script_writes_and_is_small():
    tecator = load_tecator("all")
    file = files(tecator.data_module).joinpath(tecator.filename)
    script = run_path(str(ROOT / "tools" / "make_tecator.py"))
    assert file.read_text(encoding="utf-8") == script["csv_text"](tecator.data, tecator.target)
    assert script["FILE"].name == tecator.filename
    assert len(file.read_bytes()) < 300_000


def test_tecator_groups_are_the_classes_of_identical_spectra():
    tecator = load_tecator()
    same_spectrum = (tecator.data[:, None] == tecator.data[None]).all(axis=-1)
    assert_array_equal(tecator.groups[:, None] == tecator.groups[None], same_spectrum)
    assert len(np.unique(tecator.groups)) == 215 - 22
    trained_on = np.isin(tecator.groups, tecator.groups[tecator.split != "T"])
    assert np.sum(trained_on & (tecator.split == "T")) == 7


def test_tecator_groups_keep_repeats_out_of_the_test_folds():
    tecator = load_tecator()
    for train, test in GroupKFold(5).split(tecator.data, tecator.target, tecator.groups):
        spectra = {row.tobytes() for row in tecator.data[train]}
        assert not any(row.tobytes() in spectra for row in tecator.data[test])


def test_tecator_split_has_the_published_sizes_in_file_order():
    assert "".join(load_tecator().split) == "C" * 129 + "M" * 43 + "T" * 43


def test_tecator_permission_note_travels_with_the_data():
    tecator = load_tecator()
    note = files(tecator.data_module).joinpath("tecator_permission.txt").read_text(encoding="utf-8")
    assert tecator.DESCR.endswith(note)
    assert "The data can be redistributed as long as this\npermission note is attached." in note


@pytest.mark.parametrize("target", ["fat", "all", ["protein"], ["protein", "fat"]])
def test_tecator_frame_says_the_same(target):
    assert_frame_says_the_same(lambda **options: load_tecator(target, **options))


def test_tecator_columns_are_named_after_their_wavelengths():
    tecator = load_tecator()
    assert tecator.feature_names == [f"nir__{nm:.0f}" for nm in tecator.wavelengths]
    assert_array_equal(tecator.wavelengths, np.arange(850.0, 1050.0, 2.0))


def test_tecator_starts_with_the_published_sample():
    # The first record of the table at StatLib.
    tecator = load_tecator(["water", "fat", "protein"])
    assert_array_equal(tecator.data[0, :3], [2.61776, 2.61814, 2.61859])
    assert_array_equal(tecator.target[0], [60.5, 22.5, 16.7])


def test_one_name_gives_a_vector_and_a_list_gives_columns():
    names = ["water", "fat", "protein"]
    table = load_tecator("all")
    assert table.target_names == names
    for j, name in enumerate(names):
        alone = load_tecator(name)
        assert alone.target.shape == (215,) and alone.target_names == [name]
        assert_array_equal(alone.target, table.target[:, j])
        assert_array_equal(load_tecator([name]).target, table.target[:, [j]])
    assert_array_equal(load_tecator(["protein", "water"]).target, table.target[:, [2, 0]])


@pytest.mark.parametrize("target", ["Fat", ["fat", "sugar"], [], 1])
def test_unknown_target_is_named_with_the_choices(target):
    with pytest.raises(ValueError, match="'water', 'fat', 'protein'") as error:
        load_tecator(target)
    assert repr(target) in str(error.value)


def test_each_load_has_arrays_of_its_own():
    first = load_tecator()
    first.data[:] = 0
    first.target[:] = 0
    second = load_tecator()
    assert second.data.min() > 0 and second.target.min() > 0


# --- Corn --------------------------------------------------------------------------------------------------

CONTENTS = ["moisture", "oil", "protein", "starch"]


@pytest.fixture
def no_corn(monkeypatch, tmp_path):
    """A computer without the data: no variable, an empty data home."""
    monkeypatch.delenv("SKFDRMFL_CORN", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "home"))
    return tmp_path


def made_up_corn():
    rng = np.random.default_rng(0)
    return {name: rng.random((80, 700)) for name in ("m5", "mp5", "mp6")} | {"y": rng.random((80, 4))}


@pytest.fixture
def corn(no_corn):
    arrays = made_up_corn()
    folder = no_corn / "corn.v1"  # a folder, though its name has a suffix
    folder.mkdir()
    np.savez(folder / "corn.npz", **arrays)
    return folder / "corn.npz", arrays


def test_corn_is_found_by_file_by_folder_by_variable_and_in_the_data_home(corn, monkeypatch):
    file, arrays = corn
    found = [fetch_corn(file), fetch_corn(str(file)), fetch_corn(file.parent)]
    monkeypatch.setenv("SKFDRMFL_CORN", str(file.parent))
    found.append(fetch_corn())
    monkeypatch.delenv("SKFDRMFL_CORN")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(file.parent.parent / "home"))
    home = file.parent.parent / "home" / "skfdrmfl"
    home.mkdir(parents=True)
    file.rename(home / "corn.npz")
    found.append(fetch_corn())
    for bunch in found:
        assert_array_equal(bunch.data, arrays["m5"])
    assert [Path(bunch.filename) for bunch in found] == [file] * 4 + [home / "corn.npz"]


def test_absent_corn_says_where_it_looked_and_what_is_needed(no_corn):
    with pytest.raises(FileNotFoundError, match=r"downloads nothing.*m5, mp5, mp6.*\(80, 700\)") as error:
        fetch_corn()
    assert str(no_corn / "home" / "skfdrmfl" / "corn.npz") in str(error.value)
    assert "SKFDRMFL_CORN" in str(error.value)
    assert not (no_corn / "home").exists(), "looking must not make folders"


def test_corn_looks_in_the_data_home_of_scikit_learn(no_corn, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(no_corn))
    monkeypatch.delenv("SCIKIT_LEARN_DATA")
    with pytest.raises(FileNotFoundError) as error:
        fetch_corn()
    assert str(Path(get_data_home(), "skfdrmfl", "corn.npz")) in str(error.value)


def test_corn_asked_for_by_name_never_comes_from_elsewhere(corn, monkeypatch):
    file, _ = corn
    monkeypatch.setenv("SKFDRMFL_CORN", str(file))
    with pytest.raises(FileNotFoundError, match="path='nowhere'"):
        fetch_corn("nowhere")
    monkeypatch.setenv("SKFDRMFL_CORN", str(file.with_name("gone.npz")))
    with pytest.raises(FileNotFoundError, match="gone.npz, where the environment variable SKFDRMFL_CORN"):
        fetch_corn()


@pytest.mark.parametrize("instruments", [["m5"], ["mp5"], ["mp6"], ["mp6", "m5"], ["m5", "mp5", "mp6"]])
def test_corn_lays_instruments_side_by_side(corn, instruments):
    file, arrays = corn
    asked = {1: instruments[0], 2: instruments, 3: "all"}[len(instruments)]
    bunch = fetch_corn(file, instrument=asked)
    assert list(bunch.modalities) == instruments
    for name, columns in bunch.modalities.items():
        assert_array_equal(bunch.data[:, columns], arrays[name])
        assert_array_equal(bunch.wavelengths[columns], np.arange(1100.0, 2500.0, 2.0))
    assert bunch.feature_names[0] == f"{instruments[0]}__1100"
    assert bunch.feature_names[-1] == f"{instruments[-1]}__2498"


def test_corn_target_is_the_column_of_its_name(corn):
    file, arrays = corn
    for j, name in enumerate(CONTENTS):
        assert_array_equal(fetch_corn(file, target=name).target, arrays["y"][:, j])
    assert fetch_corn(file, target="all").target_names == CONTENTS


def test_corn_frame_says_the_same(corn):
    assert_frame_says_the_same(lambda **options: fetch_corn(corn[0], instrument="all", target="all", **options))


def test_corn_states_its_credit_and_licence(corn):
    for words in ("Cargill", "Mike Blackburn", "Eigenvector Research", "Licence"):
        assert words in fetch_corn(corn[0]).DESCR


@pytest.mark.parametrize(("parameter", "value"), [("instrument", "m6"), ("target", "fat")])
def test_corn_names_the_wrong_choice(corn, parameter, value):
    with pytest.raises(ValueError, match=f"{parameter} is '{value}'; choose one of 'm"):
        fetch_corn(corn[0], **{parameter: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m5": None}, "lacks m5; it has mp5, mp6, y"),
        ({"m5": np.zeros((79, 700))}, r"m5 in .* has shape \(79, 700\), not \(80, 700\)"),
        ({"y": np.zeros(80)}, r"y in .* has shape \(80,\), not \(80, 4\)"),
        ({"names": np.array(CONTENTS[::-1])}, "names in an order of its own"),
        ({"wavelengths": np.arange(700)}, "wavelengths in an order of its own"),
    ],
)
def test_corn_file_with_something_else_is_refused(tmp_path, change, message):
    arrays = {key: value for key, value in (made_up_corn() | change).items() if value is not None}
    np.savez(tmp_path / "corn.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        fetch_corn(tmp_path)


def test_corn_needs_only_the_instruments_asked_for(tmp_path):
    arrays = made_up_corn()
    np.savez(tmp_path / "corn.npz", mp5=arrays["mp5"], y=arrays["y"])
    assert_array_equal(fetch_corn(tmp_path, instrument="mp5").data, arrays["mp5"])


def test_corn_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "corn.npz").write_text("m5, mp5, mp6")
    with pytest.raises(ValueError, match="not an .npz archive"):
        fetch_corn(tmp_path)


def test_real_corn_equals_its_file_bit_for_bit():
    path = reference("corn.npz")
    bunch = fetch_corn(path, instrument="all", target="all")
    with np.load(path, allow_pickle=False) as table:
        assert_array_equal(bunch.data, np.hstack([table["m5"], table["mp5"], table["mp6"]]), strict=True)
        assert_array_equal(bunch.target, table["y"], strict=True)
        assert list(table["names"]) == bunch.target_names


# --- Simulations -------------------------------------------------------------------------------------------


def test_simulated_y_is_the_papers_function_of_every_tenth_entry():
    for function in (1, 2, 3):
        X, y = make_simulation(function, n_samples=5, random_state=3)
        assert X.shape == (5, 3604) and X.dtype == y.dtype == np.float64
        for row, value in zip(X, y, strict=True):
            image = sum(row[j] for j in range(0, 3072, 10))
            text = sum(row[3072 + j] for j in range(0, 500, 10))
            s = image + text + sum(row[3572 + j] for j in range(0, 32, 10))
            expected = {
                1: np.tanh(0.05 * s),
                2: np.log(1 + np.exp(0.1 * s + 1e-4 * image * text)),
                3: 16 / (np.exp(0.02 * s) + np.exp(-0.02 * s)),
            }[function]
            assert value == pytest.approx(expected, rel=1e-12)


def test_predicting_the_mean_costs_the_variance_that_quadrature_gives():
    # Oracle: the block sums are independent normals of variance 308, 50 and 4 (how many entries are summed).
    nodes, weights = hermegauss(24)
    weights = weights / weights.sum()
    image, text, vector = np.meshgrid(*(np.sqrt(n) * nodes for n in (308, 50, 4)), indexing="ij")
    weight = weights[:, None, None] * weights[:, None] * weights
    s = image + text + vector
    y = {1: np.tanh(0.05 * s), 2: np.log1p(np.exp(0.1 * s + 1e-4 * image * text)), 3: 8 / np.cosh(0.02 * s)}
    documented = {1: 0.376, 2: 1.075, 3: 0.379}
    for function, values in y.items():
        mean = (weight * values).sum()
        variance = (weight * (values - mean) ** 2).sum()
        fourth = (weight * (values - mean) ** 4).sum()
        assert variance == pytest.approx(documented[function], abs=5e-4)
        n = 1500
        _, drawn = make_simulation(function, n_samples=n, random_state=0)
        assert abs(np.mean((drawn - mean) ** 2) - variance) < 4 * np.sqrt((fourth - variance**2) / n)


def test_simulated_entries_are_standard_normal():
    X, _ = make_simulation(n_samples=100, random_state=1)
    n = X.size
    assert abs(X.mean()) < 4 / np.sqrt(n)
    assert abs(X.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(np.mean(X**4) - 3) < 4 * np.sqrt(96 / n)


def test_simulated_frame_says_the_same():
    def load(return_X_y=False, **options):
        return make_simulation(2, n_samples=3, random_state=0, return_X_y=return_X_y, **options)

    assert_frame_says_the_same(load)
    bunch = load()
    assert [(c.start, c.stop) for c in bunch.modalities.values()] == [(0, 3072), (3072, 3572), (3572, 3604)]
    assert bunch.target_names == ["y2"] and bunch.feature_names[3572] == "vector__0"


@pytest.mark.parametrize("function", [0, 4, "1", None])
def test_unknown_simulation_is_named_with_the_choices(function):
    with pytest.raises(ValueError, match=f"function is {function!r}; choose 1, 2 or 3"):
        make_simulation(function)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5])
def test_simulation_needs_rows(n_samples):
    with pytest.raises(ValueError, match=f"n_samples is {n_samples}"):
        make_simulation(1, n_samples)


# --- Random states -----------------------------------------------------------------------------------------

DRAWS = {
    "simulation": lambda random_state: make_simulation(n_samples=2, random_state=random_state)[0],
    "iid": lambda random_state: make_client_ids(range(60), 3, random_state=random_state),
    "dirichlet": lambda random_state: make_client_ids(range(60), 3, "dirichlet", random_state=random_state),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("source", [lambda: 5, lambda: np.random.RandomState(5), lambda: np.random.default_rng(5)])
def test_equal_random_states_give_equal_draws(draw, source):
    assert_array_equal(draw(source()), draw(source()))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("source", [np.random.RandomState, np.random.default_rng])
def test_a_shared_generator_advances(draw, source):
    shared = source(5)
    assert not np.array_equal(draw(shared), draw(shared))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_no_seed_means_a_new_draw_and_an_untouched_global_state(draw):
    np.random.seed(0)  # noqa: NPY002 - the global state is what this is about
    first = draw(None)
    draw(7)
    assert np.random.random_sample() == np.random.RandomState(0).random_sample()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert not np.array_equal(first, draw(None))


# --- Clients -----------------------------------------------------------------------------------------------


@st.composite
def targets_and_clients(draw):
    """A y with few or many ties, and a number of clients that it can serve."""
    distinct = draw(st.sampled_from([1, 2, 5, 1000]))
    y = draw(st.lists(st.integers(0, distinct - 1), min_size=1, max_size=60))
    return np.array(y, dtype=float), draw(st.integers(1, len(y)))


@given(
    targets_and_clients(),
    st.sampled_from(["iid", "quantile", "dirichlet"]),
    st.sampled_from([1e-9, 0.5, 1e300]),
)
def test_every_row_has_a_client_and_every_client_a_row(case, scheme, alpha):
    y, n_clients = case
    ids = make_client_ids(y, n_clients, scheme, alpha=alpha, random_state=0)
    assert ids.shape == y.shape and ids.dtype == np.int64
    assert set(ids.tolist()) == set(range(n_clients))


@given(targets_and_clients(), st.sampled_from(["iid", "quantile"]))
def test_even_schemes_differ_by_at_most_one_row(case, scheme):
    y, n_clients = case
    sizes = np.bincount(make_client_ids(y, n_clients, scheme, random_state=0))
    assert sizes.max() - sizes.min() <= 1


@given(targets_and_clients())
def test_quantile_clients_are_sorted_slices_of_y(case):
    y, n_clients = case
    ids = make_client_ids(y, n_clients, "quantile")
    by_client = [np.sort(y[ids == client]) for client in range(n_clients)]
    assert_array_equal(np.concatenate(by_client), np.sort(y))


def test_quantile_cuts_a_run_of_equal_values_in_row_order():
    assert make_client_ids([2.0, 1.0, 2.0, 2.0, 1.0, 2.0], 3, "quantile").tolist() == [1, 0, 1, 2, 0, 2]
    # Long enough that an unstable sort would not keep the order by luck.
    y = np.random.default_rng(0).integers(0, 4, size=3000)
    order = np.lexsort((np.arange(3000), y))
    assert_array_equal(make_client_ids(y, 7, "quantile")[order], np.arange(3000) * 7 // 3000)


def test_iid_clients_do_not_depend_on_y():
    assert_array_equal(
        make_client_ids(np.arange(50), 4, random_state=1),
        make_client_ids(np.arange(50)[::-1], 4, random_state=1),
    )


def test_every_assignment_is_equally_likely_under_iid():
    counts = np.zeros((6, 3))
    for seed in range(600):
        counts[np.arange(6), make_client_ids(np.zeros(6), 3, random_state=seed)] += 1
    # Each cell is binomial(600, 1/3): standard deviation 11.5.
    assert np.all(np.abs(counts - 200) < 4.5 * 11.5)


def test_dirichlet_with_large_alpha_shares_each_bin_evenly():
    y = np.random.default_rng(0).permutation(400)
    for alpha in (1e6, 1e308):
        ids = make_client_ids(y, 4, "dirichlet", alpha=alpha, random_state=0)
        table = np.zeros((10, 4))
        np.add.at(table, (y // 40, ids), 1)
        assert np.all(np.abs(table - 10) <= 1)


def test_dirichlet_with_small_alpha_gives_each_bin_to_one_client():
    y = np.random.default_rng(0).permutation(400)
    ids = make_client_ids(y, 2, "dirichlet", alpha=1e-9, random_state=2)
    assert all(len(set(ids[y // 40 == bin_].tolist())) == 1 for bin_ in range(10))


def test_dirichlet_gives_equal_values_one_bin():
    # Three classes of very different sizes; quantile edges alone would merge the rare ones.
    y = np.repeat([0, 1, 2], [90, 5, 5])
    owners = set()
    for seed in range(30):
        ids = make_client_ids(y, 3, "dirichlet", alpha=1e-9, random_state=seed)
        # All but the rows (at most two) that clients left empty have taken.
        assert sum(np.bincount(ids[y == label]).max() for label in (0, 1, 2)) >= 98
        owners.add(tuple(int(np.bincount(ids[y == label]).argmax()) for label in (0, 1, 2)))
    assert any(len(set(owner)) == 3 for owner in owners)


def test_dirichlet_shares_have_the_moments_of_the_distribution():
    # One bin's share is Dirichlet(alpha, .., alpha): mean 1/K, variance (K - 1) / (K² (K alpha + 1)).
    n_clients, alpha, y = 3, 0.5, np.arange(1000)
    shares = []
    for seed in range(40):
        ids = make_client_ids(y, n_clients, "dirichlet", alpha=alpha, random_state=seed)
        shares += [np.mean(ids[y // 100 == bin_] == 0) for bin_ in range(10)]
    variance = (n_clients - 1) / (n_clients**2 * (n_clients * alpha + 1))
    assert np.mean(shares) == pytest.approx(1 / n_clients, abs=4 * np.sqrt(variance / len(shares)))
    assert np.var(shares) == pytest.approx(variance, rel=0.25)


def test_dirichlet_deals_a_bins_rows_at_random():
    ids = make_client_ids(np.zeros(400), 2, "dirichlet", alpha=1e6, random_state=0)
    assert 150 < np.count_nonzero(np.diff(ids)) < 250  # sorted rows would change client once


def test_clients_left_empty_take_from_the_largest():
    ids = make_client_ids(np.zeros(10), 10, "dirichlet", alpha=1e-9, random_state=0)
    assert sorted(ids.tolist()) == list(range(10))


def test_several_targets_are_split_by_their_first_principal_score():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=200)
    y = np.column_stack([latent, -100 * latent + 7, 1e-3 * latent])  # one direction, in different units
    expected = make_client_ids(latent, 5, "quantile")
    assert_array_equal(make_client_ids(y, 5, "quantile"), expected)
    assert_array_equal(make_client_ids(np.column_stack([latent, np.ones(200)]), 5, "quantile"), expected)
    assert_array_equal(make_client_ids(latent[:, None], 5, "quantile"), expected)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1), (1, -1, -1), (-1, 1, 1), (1, 1, -1, -1)])
def test_the_principal_score_grows_with_the_first_target(signs):
    latent = np.random.default_rng(0).normal(size=200)
    y = np.outer(latent, signs)
    assert_array_equal(make_client_ids(y, 5, "quantile"), make_client_ids(y[:, 0], 5, "quantile"))


@pytest.mark.parametrize("container", [list, pd.Series, pl.Series, np.asarray])
def test_any_container_of_y_gives_the_same_clients(container):
    y = [3.0, 1.0, 2.0, 9.0, 8.0, 7.0]
    assert make_client_ids(container(y), 3, "quantile").tolist() == [1, 0, 0, 2, 2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], 0), "n_clients is 0; pass an integer of at least 1"),
        (([1.0, 2.0], 1.5), "n_clients is 1.5"),
        (([1.0, 2.0], 3), "n_clients is 3 but y has 2 rows"),
        (([1.0, 2.0], 2, "sorted"), "scheme is 'sorted'; choose one of 'iid', 'quantile', 'dirichlet'"),
        (([1.0, np.nan], 2), "y has 1 NaN or infinite values"),
        (([1.0, np.inf], 2), "y has 1 NaN or infinite values"),
        ((["lean", "fat"], 2), "y is not a table of numbers"),
        (([], 1), r"y has shape \(0,\)"),
        ((np.zeros((2, 2, 2)), 1), r"y has shape \(2, 2, 2\)"),
    ],
)
def test_clients_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_client_ids(*arguments)


@pytest.mark.parametrize("alpha", [0, -1.0, np.nan, np.inf])
def test_dirichlet_needs_a_positive_alpha(alpha):
    with pytest.raises(ValueError, match=f"alpha is {alpha!r}; pass a finite number above 0"):
        make_client_ids([1.0, 2.0], 2, "dirichlet", alpha=alpha)


# --- Stacking ----------------------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.sampled_from(["image", "text", "_x", "a b"]),
        st.lists(st.integers(1, 4), max_size=3).map(tuple),
        min_size=1,
    )
)
def test_each_slice_of_the_stack_is_its_block_flattened(shapes):
    rng = np.random.default_rng(0)
    blocks = {name: rng.normal(size=(3, *shape)) for name, shape in shapes.items()}
    X, modalities = stack_modalities(blocks)
    frame = stack_modalities(blocks, as_frame=True)
    assert list(modalities) == prefixes(frame.columns) == list(blocks)
    assert_array_equal(frame.to_numpy(), X)
    for name, block in blocks.items():
        assert_array_equal(X[:, modalities[name]], block.reshape(3, -1))
        width = block[0].size
        assert [c for c in frame.columns if c.partition("__")[0] == name] == [f"{name}__{j}" for j in range(width)]
    assert X.shape[1] == max(columns.stop for columns in modalities.values())


def test_stack_keeps_the_common_dtype_and_is_a_copy():
    block = np.ones((2, 3), np.float32)
    X, _ = stack_modalities({"a": block})
    assert X.dtype == np.float32 and not np.shares_memory(X, block)
    assert stack_modalities({"a": block, "b": np.ones(2, np.uint8)})[0].dtype == np.float32
    assert stack_modalities({"a": block, "b": np.ones(2)}, as_frame=True).dtypes.unique() == [np.float64]


def test_stack_of_frames_keeps_column_names_and_index():
    left = pd.DataFrame({"850": [1.0, 2.0], "852": [3.0, 4.0]}, index=["r1", "r2"])
    blocks = {"nir": left, "site": pl.DataFrame({"ph": [5, 6]}), "mass": np.array([7.0, 8.0])}
    frame = stack_modalities(blocks, as_frame=True)
    assert list(frame.columns) == ["nir__850", "nir__852", "site__ph", "mass__0"]
    assert list(frame.index) == ["r1", "r2"]
    assert_array_equal(frame.to_numpy(), [[1, 3, 5, 7], [2, 4, 6, 8]])
    assert_array_equal(stack_modalities(blocks)[0], frame.to_numpy())


def test_stack_refuses_frames_whose_rows_are_in_different_orders():
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    for as_frame in (False, True):
        with pytest.raises(ValueError, match="'a' and 'b' have different indexes"):
            stack_modalities({"a": frame, "b": frame[::-1]}, as_frame=as_frame)


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        ([np.ones(2)], TypeError, "blocks is a list; pass a dict"),
        ({}, ValueError, "blocks is empty"),
        ({"a": np.ones(2), "b": np.ones(3)}, ValueError, "numbers of rows: {'a': 2, 'b': 3}"),
        ({"a__b": np.ones(2)}, ValueError, "Modality name 'a__b'"),
        ({"a_": np.ones(2)}, ValueError, "Modality name 'a_'"),  # "a___0" would split into "a" and "_0"
        ({"": np.ones(2)}, ValueError, "Modality name ''"),
        ({1: np.ones(2)}, ValueError, "Modality name 1"),
        ({"a": np.ones((2, 0))}, ValueError, r"Modality 'a' has shape \(2, 0\)"),
        ({"a": np.ones((0, 2))}, ValueError, r"Modality 'a' has shape \(0, 2\)"),
        ({"a": 3.0}, ValueError, r"Modality 'a' has shape \(\)"),
        ({"a": csr_array(np.eye(2))}, TypeError, "Modality 'a' is sparse"),
        ({"a": ["red", "blue"]}, TypeError, "Modality 'a' has dtype <U4; encode it"),
    ],
)
def test_stack_refuses_what_is_no_modality(blocks, error, message):
    with pytest.raises(error, match=message):
        stack_modalities(blocks)
