"""Discrete columns of DataFrames: categories agreed by clients, codes, embeddings beside numeric columns."""

import pickle
from enum import Enum

import joblib
import numpy as np
import pytest
import torch
from helpers import FLOAT, fit_tables, make_run, run_round
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_selector
from torch.nn import functional

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.client_data import ClientData
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.data.categories import UNSEEN, discrete_columns, encode, read_labels
from skfdrmfl.data.partition import Partition
from skfdrmfl.encoders import CategoricalEncoder, Conv1DEncoder, DenseEncoder, LinearEncoder
from skfdrmfl.engines.rows import Run
from skfdrmfl.method import parts
from skfdrmfl.method.fusion import ConcatFusion
from skfdrmfl.method.layout import ParameterLayout
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.queries.labels import agree

pd = pytest.importorskip("pandas")

N = 90
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "a": RNG.standard_normal(N),
        "site": RNG.choice(["north", "south", "west"], N),
        "wet": RNG.random(N) > 0.5,
        "b": 100 * RNG.standard_normal(N),
        "grade": pd.Categorical(RNG.choice([1, 2, 7], N)),
    }
)
EFFECT = {"north": 0.0, "south": 2.0, "west": -1.0}
Y = (FRAME["a"] + FRAME["site"].map(EFFECT) - FRAME["wet"] * FRAME["b"] / 100).to_numpy()
IDS = RNG.choice(["x", "y", "z"], N)
WHOLE = {"all": slice(None)}


def small(**params):
    return FDRMFLTransformer(
        **(
            {"tuning": None}
            | {"random_state": 0, "n_rounds": 3, "local_epochs": 1, "hidden_layer_sizes": (4,)}
            | params
        )
    )


def in_polars(frame):
    pl = pytest.importorskip("polars")
    return pl.DataFrame({name: frame[name].tolist() for name in frame}).with_columns(
        pl.col("site").cast(pl.Categorical)
    )


def as_dtype(frame, kind):
    """`frame` with its strings in one of the dtypes of pandas that hold strings."""
    return frame.assign(site=frame["site"].astype(kind))


# ------------------------------------------------------------------------------------------------- which columns


def test_categories_strings_and_bools_are_discrete_numbers_are_not():
    assert discrete_columns(FRAME) == [1, 2, 4]
    assert discrete_columns(FRAME.astype({"wet": "boolean", "site": "category", "grade": "Int64"})) == [1, 2]
    assert discrete_columns(FRAME[["a", "b"]].astype(object)) == []
    assert discrete_columns(FRAME.to_numpy()) == []
    assert discrete_columns(in_polars(FRAME)) == [1, 2]


def test_without_modalities_numbers_and_categories_are_one_each():
    modalities = small().fit(FRAME, Y, client_ids=IDS).modalities_
    assert {name: columns.tolist() for name, columns in modalities.items()} == {
        "numeric": [0, 3],
        "categorical": [1, 2, 4],
    }
    assert list(small().fit(FRAME[["site", "wet"]], Y).modalities_) == ["categorical"]
    assert list(small().fit(FRAME[["a", "b"]], Y).modalities_) == ["x"]


@pytest.mark.slow
def test_a_modality_may_hold_both_kinds():
    by_dict = small(modalities={"one": ["b", "site", "a"], "two": make_column_selector("wet|grade")})
    by_dict.fit(FRAME, Y, client_ids=IDS)
    assert {name: c.tolist() for name, c in by_dict.modalities_.items()} == {"one": [3, 1, 0], "two": [2, 4]}
    prefixed = FRAME.set_axis(["one__a", "one__site", "two__wet", "one__b", "two__grade"], axis=1)
    by_prefix = small(modalities="prefix").fit(prefixed, Y, client_ids=IDS)
    assert {name: c.tolist() for name, c in by_prefix.modalities_.items()} == {"one": [0, 1, 3], "two": [2, 4]}


# ---------------------------------------------------------------------------------------------------- agreement


def test_categories_are_the_sorted_union_of_the_clients():
    fitted = small().fit(FRAME, Y, client_ids=FRAME["site"])  # each client holds one site
    assert {name: known.tolist() for name, known in fitted.categories_.items()} == {
        "site": ["north", "south", "west"],
        "wet": [False, True],
        "grade": [1, 2, 7],
    }
    assert small().fit(FRAME[["a", "b"]], Y).categories_ == {}


def test_a_client_only_sends_its_set_of_labels(monkeypatch):
    sent, honest = [], Simulation.sum

    def watched(self, *queries):
        sent.extend([query(client) for client in self.clients] for query in queries)
        return honest(self, *queries)

    monkeypatch.setattr(Simulation, "sum", watched)
    partition = Partition.of_codes(np.unique(IDS, return_inverse=True)[1])
    tables = ClientData(np.empty((len(FRAME), 0)), np.empty((len(FRAME), 0)), labels=read_labels(FRAME, [1]))
    (known,) = agree(Simulation(tables, partition), {1: "site"}).values()
    # Of one query, one answer a client, of one part: a set.
    (answers,) = sent
    assert [len(answer) for answer in answers] == [1, 1, 1]
    assert [set(labels) for (labels,) in answers] == [set(FRAME.loc[np.equal(IDS, name), "site"]) for name in "xyz"]
    assert all(isinstance(labels, frozenset) for (labels,) in answers)
    assert known.tolist() == sorted(set().union(*(labels for (labels,) in answers)))


@pytest.mark.slow
def test_declared_but_absent_categories_do_not_count():
    declared = FRAME.assign(site=pd.Categorical(FRAME["site"], ["west", "north", "south", "east"]))
    fitted = small().fit(declared, Y, client_ids=IDS)
    assert fitted.categories_["site"].tolist() == ["north", "south", "west"]
    assert_array_equal(fitted.transform(declared), small().fit(FRAME, Y, client_ids=IDS).transform(FRAME))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", [object, "string", "category"])
def test_how_strings_are_stored_is_of_no_consequence(kind):
    Z = small(modalities=WHOLE).fit_transform(FRAME, Y, client_ids=IDS)
    assert_array_equal(small(modalities=WHOLE).fit_transform(as_dtype(FRAME, kind), Y, client_ids=IDS), Z)


@pytest.mark.parametrize("modalities", [None, WHOLE])
def test_polars_gives_what_pandas_gives(modalities):
    fitted = small(modalities=modalities).fit(FRAME.drop(columns="grade"), Y, client_ids=IDS)
    frame = in_polars(FRAME.drop(columns="grade"))
    assert_array_equal(fitted.transform(frame), fitted.transform(FRAME.drop(columns="grade")))
    other = small(modalities=modalities).fit(frame, Y, client_ids=IDS)
    assert_array_equal(other.transform(frame), fitted.transform(frame))


@pytest.mark.parametrize("kind", [object, "category"])
def test_a_row_has_its_z_alone_as_among_others(kind):
    fitted, frame = small(modalities=WHOLE).fit(FRAME, Y, client_ids=IDS), as_dtype(FRAME, kind)
    alone = np.concatenate([fitted.transform(frame.iloc[[row]]) for row in range(5)])
    assert_allclose(alone, fitted.transform(frame)[:5], rtol=1e-5, atol=1e-6)


def test_intervals_are_categories_by_their_names():
    cut = pd.DataFrame({"bin": pd.cut(FRAME["a"], [-9, 0, 9])})
    assert small().fit(cut, Y).categories_["bin"].tolist() == ["(-9, 0]", "(0, 9]"]


def test_members_of_a_string_enum_are_their_values():
    class Site(str, Enum):  # noqa: UP042 - its str() is not its value, that of a StrEnum is
        NORTH, SOUTH = "n1", "s1"

    labels = [Site.NORTH, Site.SOUTH] * (N // 2)
    plain = [label.value for label in labels]
    fitted = small().fit(FRAME[["a"]].assign(site=labels), Y, client_ids=IDS)
    assert fitted.categories_["site"].tolist() == ["n1", "s1"]
    assert_array_equal(
        fitted.predict(FRAME[["a"]].assign(site=plain)), fitted.predict(FRAME[["a"]].assign(site=labels))
    )


# ---------------------------------------------------------------------------------------------- unseen and missing


def test_without_modalities_a_row_may_lack_all_its_numbers():
    numbers = [name for name in FRAME if FRAME[name].dtype == float]
    holes = FRAME.copy()
    holes.loc[3:9, numbers] = np.nan
    fitted = small().fit(holes, Y, client_ids=IDS)
    assert list(fitted.modalities_) == ["numeric", "categorical"]
    named = small(modalities=fitted.modalities_).fit(holes, Y, client_ids=IDS)
    assert_array_equal(fitted.predict(holes), named.predict(holes))
    holes.loc[20, numbers[0]] = np.nan
    with pytest.raises(ValueError, match="modality 'numeric' is partly NaN in 1 row "):
        small().fit(holes, Y, client_ids=IDS)


def test_an_unseen_category_has_a_vector_of_zeros():
    fitted = small(modalities=WHOLE, n_rounds=20).fit(FRAME, Y, client_ids=IDS)
    table = fitted.weights_["encoder.all.embedding"]
    last = np.cumsum([4, 3, 4]) - 1  # of site, wet, grade
    assert_array_equal(table[last], 0.0)
    assert (np.abs(np.delete(table, last, 0)).max(1) > 0).all()
    seen, unseen = FRAME.head(3), FRAME.head(3).assign(site="east")
    with pytest.warns(UserWarning, match="3 of 3 labels of 'site' are unknown to the model: 'east'; known: 'north'"):
        without = fitted.predict(unseen)
    assert not np.allclose(fitted.predict(seen), without)
    blank = pickle.loads(pickle.dumps(fitted))
    blank.weights_["encoder.all.embedding"][:3] = 0.0  # no site says anything
    assert_allclose(blank.predict(seen), without, rtol=1e-12)


def test_partial_fit_keeps_the_categories_and_trains_the_unseen_vector():
    fitted = small().partial_fit(FRAME, Y, client_ids=IDS)
    known = fitted.categories_["site"]
    fitted.partial_fit(FRAME.assign(site="east"), Y, client_ids=IDS)
    assert_array_equal(fitted.categories_["site"], known)
    assert np.abs(fitted.weights_["encoder.categorical.embedding"][3]).min() > 0


@pytest.mark.sampled(2)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_missing_is_a_category_of_its_own(library):
    holes = FRAME.drop(columns="grade").assign(site=FRAME["site"].where(FRAME["a"] > -0.5, None))
    frame = (
        holes
        if library == "pandas"
        else in_polars(holes.assign(site=holes["site"].astype(object).where(holes["site"].notna(), None)))
    )
    fitted = small().fit(frame, Y, client_ids=IDS)
    assert fitted.categories_["site"].tolist() == ["north", "south", "west", None]
    codes = np.asarray(encode(frame, fitted._fitted.network_spec.categories))[:, 1]
    assert_array_equal(codes == 3, holes["site"].isna())
    assert np.isfinite(fitted.transform(frame)).all()
    whole = small().fit(FRAME, Y, client_ids=IDS)  # saw none: missing is unseen
    with pytest.warns(UserWarning, match=r"90 of 90 labels of 'site' are unknown .*'\?'"):
        unknown = whole.transform(FRAME.assign(site="?"))
    assert_array_equal(whole.transform(FRAME.assign(site=pd.Series([None] * N, dtype=object))), unknown)


@pytest.mark.sampled()
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("spoilt", ["{}.0", "{} ", "{}?"])
def test_labels_that_the_model_does_not_know_are_counted_and_named_once_a_call(library, spoilt):
    fitted = small().fit(FRAME, Y, client_ids=IDS)
    strange = FRAME["site"].where(FRAME["a"] > 0, FRAME["site"].map(spoilt.format))
    table = FRAME.assign(site=strange, grade=FRAME["grade"].cat.add_categories([9]).where(FRAME.index > 1, 9))
    n = int((FRAME["a"] <= 0).sum())
    names = ", ".join(map(repr, dict.fromkeys(strange[FRAME["a"] <= 0])))
    table = in_polars(table) if library == "polars" else table
    for use in (fitted.predict, fitted.transform, lambda X: fitted.score(X, Y)):
        with pytest.warns(UserWarning) as caught:
            use(table)
        (said,) = caught
        assert f"{n} of 90 labels of 'site' are unknown to the model: {names}; known: 'north'" in str(said.message)
        assert "; 2 of 90 labels of 'grade' are unknown to the model: 9; known: 1, 2, 7." in str(said.message)
        assert said.filename == __file__


def test_labels_that_are_known_or_missing_are_not_mentioned():
    fitted = small().fit(FRAME, Y, client_ids=IDS)
    fitted.predict(FRAME.head(1))  # warnings are errors
    fitted.predict(FRAME.assign(site=FRAME["site"].where(FRAME["a"] > 0, None)))
    declared = FRAME["grade"].cat.add_categories([9])  # which no row has
    fitted.predict(FRAME.assign(grade=declared))


TIMES = pd.date_range("2026-01-01", periods=N)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("column", "words"),
    [
        (TIMES, "datetime64"),
        (TIMES.tz_localize("UTC"), "datetime64"),
        (TIMES - TIMES[0], "timedelta64"),
        (TIMES.to_period("D"), "period"),
        (pd.Series(list(TIMES), dtype=object), "Timestamp"),
        (pd.Series([day.date() for day in TIMES], dtype=object), "date"),
    ],
)
def test_dates_and_times_are_refused_in_one_line(column, words):
    for act in (lambda X: small().fit(X, Y), small().fit(FRAME.assign(day=1.0), Y).predict):
        with pytest.raises(
            ValueError, match=f"column 'day' holds values of type {words}.*; make them numbers"
        ) as error:
            act(FRAME.assign(day=column))
        assert "\n" not in str(error.value)


def test_arrays_of_dates_are_refused_too():
    days = TIMES.to_numpy()
    for act in (lambda: small().fit(days[:, None], Y), lambda: small().fit(np.ones((N, 2)), Y).predict(days[:, None])):
        with pytest.raises(ValueError, match="X holds values of type datetime64.*make them numbers"):
            act()
    with pytest.raises(ValueError, match="y holds values of type datetime64.*make them numbers"):
        small().fit(np.ones((N, 2)), days)


def test_codes_leave_the_type_of_the_numbers():
    single = FRAME.astype({"a": np.float32, "b": np.float32})
    fitted = small().fit(single, Y, client_ids=IDS)
    assert fitted.transform(single).dtype == np.float32
    assert fitted.transform(FRAME).dtype == np.float64
    assert encode(single, fitted._fitted.network_spec.categories).dtypes["site"] == np.int8
    many = {0: np.arange(200).astype(str)}
    codes = encode(pd.DataFrame({"id": ["199", "x"]}), many)["id"]
    assert codes.dtype == np.int16 and codes.tolist() == [199, UNSEEN]


def test_the_frame_is_not_changed():
    frame = FRAME.copy()
    small().fit(frame, Y, client_ids=IDS).transform(frame)
    pd.testing.assert_frame_equal(frame, FRAME)


# --------------------------------------------------------------------------------------------------- the encoder


SPECS = {
    "dense": DenseEncoder((4,), embedding_dim=3),
    "linear": LinearEncoder(),
    "no skip": DenseEncoder((4,), skip=False),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_a_code_is_that_of_the_one_hot_rows_by_other_means(spec):
    """The vectors are one-hot rows times the table; what follows is torch's linear layers."""
    part = spec.build_embedded("m", (3, 2), 4, 5, (7,))
    layout = ParameterLayout(part.shapes)
    flat = torch.as_tensor(np.random.default_rng(1).standard_normal((1, layout.size)))
    views = layout.views(flat)
    x = torch.tensor([[0.0, 1.0, 0.3, -2.0], [2.0, -1.0, 1.0, 0.5], [9.0, 0.0, 0.0, 1.0]], dtype=FLOAT)
    columns = [functional.one_hot(torch.tensor(c), n).to(FLOAT) for c, n in (([0, 2, 3], 4), ([1, 2, 0], 3))]
    table = views["encoder.m.embedding"][0].split([4, 3])
    features = torch.cat([hot @ rows for hot, rows in zip(columns, table, strict=True)] + [x[:, 2:]], 1)
    weights = [views[f"encoder.m.weight{i}"][0] for i in range(len(part.mlp.hidden) + 1)]
    biases = [views[f"encoder.m.bias{i}"][0, :, 0] for i in range(len(weights))]
    out = functional.linear(features, weights[0], biases[0])
    if len(weights) == 2:
        hidden, skipped = out[:, :4], out[:, 4:]
        out = functional.linear(functional.silu(hidden), weights[1], biases[1])
        out = out + skipped if skipped.shape[1] else out
    assert_allclose(part.forward(views, x[None])[0], out, rtol=1e-12, atol=1e-12)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_the_torch_engine_equals_the_loop(spec):
    part = spec.build_embedded("m", (3, 2), 4, 3, (4,))
    network = Network({"m": part}, ConcatFusion(), modality_dim=3, n_components=2, n_outputs=1)
    run = make_run(network, [5, 9, 2], n_history=2)
    codes = torch.as_tensor(np.random.default_rng(2).integers(-1, 3, (16, 2))).to(FLOAT)
    run = Run(torch.cat((codes, run.x[:, 2:]), 1), run.y, run.partition, run.settings, 0, run.start)
    loop, stacked = (run_round(engine, network, [run]) for engine in ("loop", "torch"))
    assert_allclose(stacked[0], loop[0], rtol=1e-8, atol=1e-8)
    for term in loop[1]:
        assert_allclose(stacked[1][term], loop[1][term], rtol=1e-8, atol=1e-8)


def test_numeric_columns_are_whitened_beside_codes_that_pass():
    fitted = small(modalities={"all": ["b", "site", "a", "wet"], "rest": ["grade"]}).fit(FRAME, Y, client_ids=IDS)
    table = np.asarray(encode(FRAME, fitted._fitted.network_spec.categories), dtype=float)
    x = fitted._fitted.table.apply(table, float)
    assert fitted._fitted.table.widths == {"all": 4, "rest": 1}
    assert_array_equal(x[:, [0, 1, 4]], table[:, [1, 2, 4]])
    (alone,) = fit_tables(table, {"all": np.array([3, 0])}, Partition(np.array([0]), [np.arange(N)]), "whiten", [2e-4])
    assert_allclose(np.abs(x[:, 2:4]), np.abs(alone.apply(table, float)), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_one_modality_of_both_kinds_learns_what_combines_them():
    """y holds wet * b, which no sum of a function of categories and one of numbers can be."""
    train, test = slice(0, 60), slice(60, None)
    scores = [
        small(modalities=m, n_rounds=35, local_epochs=5, hidden_layer_sizes=(16,))
        .fit(FRAME[train], Y[train], client_ids=IDS[train])
        .score(FRAME[test], Y[test])
        for m in (None, WHOLE)
    ]
    assert scores[1] > 0.95 > scores[0]


# ------------------------------------------------------------------------------------------------- scikit-learn's


@pytest.mark.sampled(2)
@pytest.mark.parametrize("modalities", [None, WHOLE])
def test_models_are_pickled_cloned_and_hand_out_frames(modalities):
    fitted = small(modalities=None if modalities is None else {"all": list(FRAME)}).fit(FRAME, Y, client_ids=IDS)
    Z = fitted.transform(FRAME)
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.transform(FRAME), Z)
    assert list(again.categories_) == ["site", "wet", "grade"]
    assert not hasattr(clone(fitted), "_categories")
    assert fitted.feature_names_in_.tolist() == list(FRAME)
    out = clone(fitted).set_output(transform="pandas").fit(FRAME, Y, client_ids=IDS).transform(FRAME)
    assert out.columns.tolist() == fitted.get_feature_names_out().tolist()
    assert_array_equal(out, Z)


@pytest.mark.slow  # skops takes a second to import; models without categories go through it by default
@pytest.mark.parametrize("modalities", [None, WHOLE])
def test_models_go_through_skops(modalities, tmp_path):
    skops_io = pytest.importorskip("skops.io")
    fitted = small(modalities=None if modalities is None else {"all": list(FRAME)}).fit(FRAME, Y, client_ids=IDS)
    skops_io.dump(fitted, tmp_path / "model.skops")
    unknown = skops_io.get_untrusted_types(file=tmp_path / "model.skops")
    assert all(name.startswith("skfdrmfl.") for name in unknown)
    again = skops_io.load(tmp_path / "model.skops", trusted=unknown)
    assert_array_equal(again.transform(FRAME), fitted.transform(FRAME))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_equal_frames_have_equal_hashes(library):
    frames = [FRAME.drop(columns="grade"), pickle.loads(pickle.dumps(FRAME.drop(columns="grade")))]
    frames = frames if library == "pandas" else [in_polars(frame) for frame in frames]
    assert joblib.hash(frames[0]) == joblib.hash(frames[1])


def test_the_shrinkage_is_chosen_with_the_numeric_columns():
    fitted = small(modalities=WHOLE, shrinkage="auto").fit(FRAME, Y, client_ids=IDS)
    assert fitted.shrinkage_ in (1e-2, 1e-3, 2e-4, 1e-5)
    assert np.isfinite(fitted.transform(FRAME)).all()


@pytest.mark.slow
def test_warm_start_goes_on_with_the_first_categories():
    fitted = small(warm_start=True).fit(FRAME, Y, client_ids=IDS)
    fitted.fit(FRAME.assign(site="east"), Y, client_ids=IDS)
    assert fitted.n_rounds_ == 6 and fitted.categories_["site"].tolist() == ["north", "south", "west"]


# -------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("changes", "params", "words"),
    [
        ({"site": ["a", 1.0] * 45}, {}, ["'site'", "mixes", "numbers and strings", "convert"]),
        ({"site": ["a", ("b",)] * 45}, {}, ["'site'", "tuple", "convert"]),
        ({}, {"encoders": {"categorical": Conv1DEncoder()}}, ["'categorical'", "3 columns", "Conv1DEncoder", "own"]),
        ({}, {"encoders": CategoricalEncoder()}, ["n_categories", "'numeric'", "None", "DataFrame"]),
        ({}, {"encoders": {"categorical": CategoricalEncoder(3)}}, ["n_categories", "'categorical'", "3", "counted"]),
        (
            {},
            {"encoders": CategoricalEncoder(), "modalities": WHOLE},
            ["'all'", "2 numeric columns", "CategoricalEncoder", "own"],
        ),
        ({}, {"encoders": DenseEncoder(embedding_dim=0)}, ["embedding_dim", "'categorical'", "positive", "0"]),
    ],
)
def test_what_does_not_fit_is_refused_before_training(changes, params, words):
    estimator = small(**params)
    with pytest.raises(ValueError) as caught:
        estimator.fit(FRAME.assign(**changes), Y, client_ids=IDS)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not hasattr(estimator, "_categories")


def test_other_rows_must_be_of_the_same_kinds():
    fitted = small().fit(FRAME, Y, client_ids=IDS)
    with pytest.raises(ValueError, match="'wet' holds numbers but its categories were bools.*convert"):
        fitted.transform(FRAME.assign(wet=FRAME["wet"].astype(float)))
    with pytest.raises(ValueError, match="ndarray.*3 discrete columns.*DataFrame"), pytest.warns(UserWarning):
        fitted.transform(FRAME.to_numpy())
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(FRAME[FRAME.columns[::-1]])
    with pytest.raises(ValueError, match="client_ids has 89 entries but X has 90 rows"):
        fitted.fit(FRAME, Y, client_ids=IDS[1:])


def test_an_encoder_of_categories_may_be_given_for_them():
    fitted = small(encoders={"categorical": CategoricalEncoder(embedding_dim=2)}).fit(FRAME, Y, client_ids=IDS)
    assert fitted.weights_["encoder.categorical.embedding"].shape == (3 + 2 + 3 + 3, 2)
    assert isinstance(fitted._fitted.network.encoders["categorical"], parts.FeaturePart)


@pytest.mark.parametrize("odd", [[1, 2], b"a", {"a": 1}, {1}], ids=lambda odd: type(odd).__name__)
def test_a_column_of_what_is_neither_number_nor_label_is_named(odd):
    with pytest.raises(ValueError, match=f"'c' holds values of type {type(odd).__name__}.*leave the column out"):
        small().fit(FRAME.assign(c=pd.Series([odd] * N, dtype=object)), Y)


@pytest.mark.parametrize("frame_of", [pd.DataFrame, in_polars], ids=["pandas", "polars"])
def test_text_in_a_column_of_numbers_is_named(frame_of):
    frame = frame_of(FRAME[["a", "site", "wet", "b"]].head(2))
    encode(frame, {1: np.array(["north", "south", "west"]), 2: np.array([False, True])})
    with pytest.raises(ValueError, match="column 'site' is to hold numbers, but does not .*west"):
        encode(frame, {2: np.array([False, True])})
    text = pd.DataFrame({"a": ["1.5", "2"], "b": [1.0, 2.0]})
    assert encode(text, {}) is text  # which scikit-learn reads as numbers
    with pytest.raises(ValueError, match="column 'b' is to hold numbers, but does not .*NAType"):
        encode(text.assign(b=pd.Series([1.0, pd.NA], dtype=object)), {})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([f"{j / 10}" for j in range(40)] * 3, "'0.0', with 40 labels in 120 rows"),
        (["1,5", "2", "12"] * 40, "'1,5', with 3 labels in 120 rows"),
        ([f"sample {j}" for j in range(120)], "'sample 0', with 120 labels in 120 rows"),
        ([f"sample {j}" for j in range(20)], "'sample 0', with 20 labels in 20 rows"),
        ([f"sample {j % 11}" for j in range(20)], "'sample 0', with 11 labels in 20 rows"),
    ],
)
def test_text_that_is_measurements_or_names_of_rows_is_warned_of(labels, said):
    frame = pd.DataFrame({"c": labels})
    with pytest.warns(UserWarning, match=f"column 'c' holds text such as {said}"):
        read_labels(frame, [0])
    read_labels(frame.astype("category"), [0])  # which says that they are categories: any warning is an error here


@pytest.mark.parametrize(
    "labels",
    [
        ["007", "011"] * 60,
        ["v1.5", "v2.5"] * 60,
        ["a", "b", "c"],
        [f"sample {j}" for j in range(19)],
        [f"sample {j % 10}" for j in range(20)],  # half as many labels as rows
        ["1.5", *"abcdefghi"] * 12,  # a tenth of the labels
    ],
)
def test_codes_versions_and_few_rows_are_categories(labels):
    read_labels(pd.DataFrame({"c": labels}), [0])
