"""Labels in columns of X: the fit is that of the same labels by keyword, bit for bit, and the column is no feature."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skfdrmfl import FDRMFLTransformer, IgnoreClients
from skfdrmfl.encoders import CategoricalEncoder
from skfdrmfl.inspection import ImportanceDisplay, SensitivityDisplay

N, P = 60, 5
rng = np.random.default_rng(0)
X = rng.standard_normal((N, P))
Y = X[:, 0] - X[:, 3] + 0.1 * rng.standard_normal(N)
CODES = rng.integers(0, 3, N) * 7
SITES = np.array([f"site {code}" for code in CODES])
SAMPLES = rng.integers(0, 25, N)
WAVELENGTHS = ["1100", "1102", "1104", "1106", "1108"]
SMALL = {"n_rounds": 3, "local_epochs": 2, "hidden_layer_sizes": (6,), "modality_dim": 3, "random_state": 0}


def fdrmfl(**parameters):
    return FDRMFLTransformer(**({"tuning": None} | SMALL | parameters))


def pandas_frame(place, labels=SITES):
    frame = pd.DataFrame(X, columns=WAVELENGTHS)
    frame.insert(place, "site", labels)
    return frame


def polars_frame(place, labels=SITES):
    columns = dict(zip(WAVELENGTHS, X.T, strict=True))
    names = [*WAVELENGTHS[:place], "site", *WAVELENGTHS[place:]]
    return pl.DataFrame({name: columns.get(name, labels) for name in names})


def same_bits(one, other):
    """Whether two fits have the same weights, record and messages."""
    assert one.weights_.keys() == other.weights_.keys()
    for name, array in one.weights_.items():
        assert_array_equal(array, other.weights_[name])
    for name, array in one.history_.items():
        assert_array_equal(array, other.history_[name])
    assert_array_equal(one.clients_, other.clients_)
    assert list(one.federation_log_) == list(other.federation_log_)
    return True


# ------------------------------------------------------------------------------------------ the law of the column

OPTIONS = {
    "plain": {},
    "stopped": {"early_stopping": True, "validation_fraction": 0.3},
    "tuned": {"tuning": "mixture", "n_rounds": 2},
    "categories": {"n_rounds": 2},
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("options", OPTIONS)
def test_a_fit_with_labels_in_columns_has_the_bits_of_one_with_the_labels_passed(options):
    frame = pd.DataFrame(X, columns=WAVELENGTHS)
    if options == "categories":
        frame["2"] = np.where(X[:, 1] > 0, "high", "low")
    expected = fdrmfl(**OPTIONS[options]).fit(frame, Y, SITES, groups=SAMPLES)
    labelled = frame.copy()
    labelled.insert(3, "sample", SAMPLES)
    labelled.insert(1, "site", SITES)
    model = fdrmfl(**OPTIONS[options], client_column="site", groups_column="sample").fit(labelled, Y)
    assert same_bits(model, expected)
    assert_array_equal(model.transform(labelled), expected.transform(frame))
    assert_array_equal(np.delete(model.feature_importances_, [1, 4]), expected.feature_importances_)
    assert_array_equal(model.feature_importances_[[1, 4]], [0.0, 0.0])
    if options == "stopped":  # the groups matter, so that the law says something of them
        without = fdrmfl(**OPTIONS[options]).fit(frame, Y, SITES)
        assert (without.history_["validation_mse"] != expected.history_["validation_mse"]).any()


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        *(("pandas", place) for place in (0, 2, P)),
        *(("pandas by position", place) for place in (0, P)),
        ("polars", 2),
        *(("objects", place) for place in (0, P)),
        ("numbers", 2),
        ("lists", P),
    ],
)
def test_any_table_may_hold_them_in_any_place_and_later_ones_need_not(kind, place):
    labels = CODES if kind == "numbers" else SITES
    expected = fdrmfl().fit(X, Y, labels)
    frame = polars_frame(place) if kind == "polars" else pandas_frame(place)
    whole, bare = frame, frame.drop("site") if kind == "polars" else frame.drop(columns="site")
    column = "site" if kind in ("pandas", "polars") else place if place < P else -1
    if kind == "objects":
        whole, bare = np.asarray(whole, dtype=object), X
    elif kind == "numbers":
        whole, bare = np.insert(X, place, CODES, axis=1), X
    elif kind == "lists":
        whole, bare = whole.to_numpy(dtype=object).tolist(), X.tolist()
    model = fdrmfl(client_column=column).fit(whole, Y)
    assert same_bits(model, expected)
    assert model.clients_.dtype.kind == expected.clients_.dtype.kind
    assert model.n_features_in_ == P + 1
    for later in (whole, bare):
        assert_array_equal(model.transform(later), expected.transform(X))
        assert_array_equal(model.predict(later), expected.predict(X))
    assert model.feature_importances_[place] == 0.0
    assert_array_equal(np.delete(model.feature_importances_, place), expected.feature_importances_)
    assert_array_equal(np.delete(np.arange(P + 1), place), model.modalities_["x"])
    assert_array_equal(model.selected_features_, model.modalities_["x"])


def test_what_stands_in_the_column_later_is_of_no_consequence():
    model = fdrmfl(client_column="site").fit(pandas_frame(2), Y)
    expected = model.predict(pandas_frame(2))
    for labels in (["elsewhere"] * N, [None] * N, np.full(N, np.nan), np.full(N, np.inf), CODES):
        assert_array_equal(model.predict(pandas_frame(2, labels)), expected)
    model = fdrmfl(client_column=2).fit(np.insert(X, 2, CODES, axis=1), Y)
    assert_array_equal(model.predict(np.insert(X, 2, np.nan, axis=1)), model.predict(X))


def test_float32_stays_and_what_was_passed_is_not_written_to():
    frame = pandas_frame(0).astype(dict.fromkeys(WAVELENGTHS, np.float32))
    before = frame.copy()
    model = fdrmfl(client_column="site").fit(frame, Y)
    assert model.transform(frame).dtype == model.transform(frame.drop(columns="site")).dtype == np.float32
    pd.testing.assert_frame_equal(frame, before)
    table = np.insert(X, 0, CODES, axis=1).astype(np.float32)
    table.flags.writeable = False
    assert fdrmfl(client_column=0).fit(table, Y).transform(table).dtype == np.float32


def test_columns_of_labels_belong_to_no_modality_and_count_in_positions():
    frame = pandas_frame(2)
    first, second = np.array([0, 1, 3]), np.array([4, 5])
    expected = fdrmfl(modalities={"a": [0, 1, 2], "b": [3, 4]}).fit(X, Y, SITES)
    selectors = {
        "positions": {"a": [0, 1, 3], "b": [4, 5]},
        "slices over the column": {"a": slice(0, 4), "b": slice("1106", None)},
        "mask": {"a": np.arange(P + 1) < 4, "b": np.arange(P + 1) >= 4},
        "names": {"a": ["1100", "1102", "site", "1104"], "b": ["1106", "1108"]},
        "callable": {"a": lambda X: list(X.columns[:4]), "b": make_column_selector("110[68]")},
    }
    for what, modalities in selectors.items():
        model = fdrmfl(modalities=modalities, client_column="site").fit(frame, Y)
        assert_array_equal(model.modalities_["a"], first, err_msg=what)
        assert_array_equal(model.modalities_["b"], second, err_msg=what)
        assert same_bits(model, expected)
    prefixed = frame.rename(columns={name: f"{'ab'[j > 2]}__{name}" for j, name in enumerate(WAVELENGTHS)})
    assert same_bits(fdrmfl(modalities="prefix", client_column="site").fit(prefixed, Y), expected)
    with pytest.raises(ValueError, match="modality 'c' selects no columns"):
        fdrmfl(modalities={"a": slice(0, 6), "c": ["site"]}, client_column="site").fit(frame, Y)


def test_rows_may_lack_a_modality_beside_a_column_of_labels_and_a_single_one_takes_no_nan():
    missing = X.copy()
    missing[::4, :2] = np.nan
    expected = fdrmfl(modalities={"a": [0, 1], "b": [2, 3, 4]}).fit(missing, Y, CODES)
    table = np.insert(missing, 0, CODES, axis=1)
    model = fdrmfl(modalities={"a": [1, 2], "b": [3, 4, 5]}, client_column=0).fit(table, Y)
    assert same_bits(model, expected)
    frame = pd.DataFrame({"site": SITES, "kind": np.where(X[:, 0] > 0, "a", "b")})
    model = fdrmfl(encoders=CategoricalEncoder(), client_column="site").fit(frame, Y)
    assert not model.__sklearn_tags__().input_tags.allow_nan  # one modality, however many columns


# ------------------------------------------------------------------------------------------ what goes on later


def test_partial_fit_and_warm_start_go_on_with_new_clients_of_the_column():
    newcomers = np.where(np.arange(N) % 3 == 0, "another", SITES)
    model, expected = fdrmfl(client_column="site"), fdrmfl()
    model.partial_fit(pandas_frame(1), Y).partial_fit(pandas_frame(1, newcomers), Y)
    expected.partial_fit(X, Y, SITES).partial_fit(X, Y, newcomers)
    assert same_bits(model, expected)
    model.set_params(warm_start=True).fit(pandas_frame(1), Y)
    assert same_bits(model, expected.set_params(warm_start=True).fit(X, Y, SITES))
    swapped = pandas_frame(1).assign(**{"1100": SITES, "site": X[:, 0]})
    with pytest.raises(ValueError, match=r"columns of labels are \[0\] now but were \[1\]"):
        model.set_params(client_column=0).partial_fit(swapped, Y)


def test_a_model_with_a_column_of_labels_is_saved_and_comes_back(tmp_path):
    model = fdrmfl(client_column="site").fit(pandas_frame(1), Y)
    model.save(tmp_path / "model.npz")
    again = FDRMFLTransformer.load(tmp_path / "model.npz")
    for table in (pandas_frame(1), pandas_frame(1).drop(columns="site")):
        assert_array_equal(again.transform(table), model.transform(table))
    assert again.client_column == "site"


def test_a_checkpoint_is_of_the_labels_wherever_they_stand(tmp_path):
    path = tmp_path / "checkpoint"
    model = fdrmfl(client_column="site", checkpoint_path=path).fit(pandas_frame(1), Y)
    again = fdrmfl(client_column=1, checkpoint_path=path).fit(pandas_frame(1), Y)
    assert same_bits(model, again)
    with pytest.raises(ValueError, match="client_ids is"):
        fdrmfl(client_column=1, checkpoint_path=path).fit(pandas_frame(1, SITES[::-1]), Y)


# ------------------------------------------------------------------------------------------ searches and rivals


@pytest.mark.slow
def test_one_search_has_rivals_that_do_not_see_the_column():
    pipeline = Pipeline([("reduce", "passthrough"), ("ridge", Ridge())])
    grid = [
        {"reduce": [fdrmfl(client_column="site")], "reduce__mi_weight": [0.0, 0.01]},
        {"reduce": [IgnoreClients(PCA(), client_column="site")], "reduce__estimator__n_components": [1, 2]},
    ]
    frame = pandas_frame(2)
    ordinary = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(frame, Y)
    scores = ordinary.cv_results_["mean_test_score"]
    bare = GridSearchCV(Pipeline([("reduce", PCA()), ("ridge", Ridge())]), {"reduce__n_components": [1, 2]}, cv=2)
    assert_allclose(bare.fit(X, Y).cv_results_["mean_test_score"], scores[2:], rtol=1e-9)
    keyword = GridSearchCV(
        Pipeline([("reduce", fdrmfl()), ("ridge", Ridge())]), {"reduce__mi_weight": [0.0, 0.01]}, cv=2
    )
    assert_array_equal(keyword.fit(X, Y, reduce__client_ids=SITES).cv_results_["mean_test_score"], scores[:2])


def test_ignore_clients_drops_columns_of_labels():
    frame = pandas_frame(2).assign(sample=SAMPLES)
    rival = IgnoreClients(PCA(2), client_column="site", groups_column=-1)
    expected = PCA(2).fit_transform(pd.DataFrame(X, columns=WAVELENGTHS))
    # The last bits depend on how pandas lays the columns out in memory.
    assert_allclose(rival.fit_transform(frame, Y), expected, rtol=1e-9, atol=1e-12)
    assert_array_equal(rival.transform(frame[WAVELENGTHS]), rival.transform(frame))
    assert rival.n_features_in_ == P + 2 and list(rival.feature_names_in_) == list(frame.columns)
    assert list(rival.estimator_.feature_names_in_) == WAVELENGTHS
    array = np.insert(X, 1, CODES, axis=1)
    assert_allclose(IgnoreClients(PCA(2), client_column=1).fit(array, Y).transform(X), expected, rtol=1e-9, atol=1e-12)
    central = IgnoreClients(fdrmfl(), client_column="site").fit(frame[["site", *WAVELENGTHS]], Y).estimator_
    assert same_bits(central, fdrmfl().fit(X, Y))


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("parameters", "table", "keywords", "said"),
    [
        ({"client_column": "site"}, pandas_frame(0), {"client_ids": SITES}, "client_ids was passed, but client_column"),
        ({"groups_column": "site"}, pandas_frame(0), {"groups": SITES}, "groups was passed, but groups_column is"),
        ({"client_column": "plant"}, pandas_frame(0), {}, "'plant', which X does not have; its columns are 'site',"),
        ({"client_column": "site"}, X, {}, "has no column names where it arrives"),
        ({"client_column": 5}, X, {}, "client_column is 5, but X has 5 columns; use 0 to 4"),
        ({"client_column": -6}, X, {}, "client_column is -6, but X has 5 columns"),
        ({"client_column": 0}, X, {}, r"client_column=0 holds \S+, which is no label"),
        ({"groups_column": 0}, X, {}, r"groups_column=0 holds \S+, which is no label"),
        ({"client_column": 0}, np.insert(X, 0, np.inf, axis=1), {}, "client_column=0 holds inf, which is no label"),
        ({"client_column": 0, "groups_column": "site"}, pandas_frame(0), {}, "are one column"),
        (
            {"client_column": "site"},
            pandas_frame(0, [None, *SITES[1:]]),
            {},
            "is missing for 1 of 60 rows .* drop those rows from X and y.",
        ),
        ({"client_column": "site"}, pandas_frame(0, [7, *SITES[1:]]), {}, "mixes labels of type number and str"),
        ({"client_column": 0}, CODES[:, None], {}, "X has no columns but those of labels"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(parameters, table, keywords, said):
    model = fdrmfl().fit(X, Y, SITES).set_params(**parameters)
    before = model.predict(X)
    with pytest.raises(ValueError, match=said):
        model.fit(table, Y, **keywords)
    assert_array_equal(model.set_params(client_column=None, groups_column=None).predict(X), before)


def test_tables_of_other_widths_are_refused_in_use():
    model = fdrmfl(client_column=0, groups_column=1).fit(np.column_stack([CODES, SAMPLES, X]), Y)
    for columns in ([CODES, X], [X[:, :4]], [CODES, SAMPLES, X, X]):  # whose labels the one column has cannot be told
        table = np.column_stack(columns)
        with pytest.raises(ValueError, match=f"{table.shape[1]} features, but FDRMFLTransformer is expecting 7"):
            model.predict(table)
    with pytest.raises(ValueError, match="feature names"):
        fdrmfl(client_column="site").fit(pandas_frame(0), Y).predict(pandas_frame(0).rename(columns={"1102": "1103"}))


# ------------------------------------------------------------------------------------------ who got no clients


def test_a_fit_that_got_no_clients_says_so_and_others_do_not(capsys):
    central, federated = fdrmfl(verbose=1).fit(X, Y), fdrmfl(verbose=1)
    assert "no client_ids and no client_column" in capsys.readouterr().out
    assert "no clients: trained centrally" in repr(central)
    assert "no clients: trained centrally" in central._repr_html_()
    assert "no clients: trained centrally" in Pipeline([("reduce", central)])._repr_html_()
    assert "no client_ids and no client_column" in repr(central.diagnose())
    assert repr(clone(central)) == repr(federated)
    for model in (federated.fit(X, Y, SITES), fdrmfl(client_column=0, verbose=1).fit(np.column_stack([CODES, X]), Y)):
        assert "no client" not in capsys.readouterr().out
        assert "no client" not in repr(model) + repr(model.diagnose()) + model._repr_html_().partition("</style>")[2]


def test_going_on_with_clients_ends_central_training():
    assert "centrally" not in repr(fdrmfl().partial_fit(X, Y).partial_fit(X, Y, np.zeros(N, dtype=int)))
    assert "centrally" in repr(fdrmfl().partial_fit(X, Y).partial_fit(X, Y))
    assert "centrally" not in repr(fdrmfl().partial_fit(X, Y, np.zeros(N, dtype=int)).partial_fit(X, Y))


# ------------------------------------------------------------------------------------------ pictures


def test_pictures_know_wavelengths_beside_a_column_of_labels():
    model = fdrmfl(client_column="site").fit(pandas_frame(2), Y)
    bare = fdrmfl().fit(pandas_frame(2)[WAVELENGTHS], Y, SITES)
    vip, expected = ImportanceDisplay.from_estimator(model), ImportanceDisplay.from_estimator(bare)
    assert vip.named
    assert_array_equal(np.delete(vip.positions, 2), expected.positions)
    assert_array_equal(np.delete(vip.vip, 2), expected.vip)
    slopes, expected = (SensitivityDisplay.from_estimator(m, pandas_frame(2)[WAVELENGTHS]) for m in (model, bare))
    assert slopes.named
    assert_array_equal(np.delete(slopes.sensitivities, 2, axis=1), expected.sensitivities)
    pyplot.close("all")
