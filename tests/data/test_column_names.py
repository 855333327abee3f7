"""Laws of columns' names: however a wavelength is written it is the same, and another one is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.data.column_names import ColumnNames, number_names, output_names

N, P = 30, 8
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, P))
Y = X[:, 0] - X[:, 5] + 0.1 * RNG.standard_normal(N)
SITES = np.array(["north", "south", "west"])[np.arange(N) % 3]
AXIS = np.arange(P) * 2.5 + 1100
WRITTEN = {
    "floats": list(AXIS),
    "text": [f"{v}" for v in AXIS],
    "a decimal comma": [f"{v:.1f}".replace(".", ",") for v in AXIS],
    "exponents": [f"{v:e}" for v in AXIS],
    "nm": [f"{v} nm" for v in AXIS],
    "R": [f"X{v}" for v in AXIS],
    "single precision": list(AXIS.astype(np.float32).astype(float) * (1 + 5e-8)),
}


def fitted(table, **parameters):
    model = FDRMFLTransformer(tuning=None, n_rounds=1, local_epochs=1, hidden_layer_sizes=(4,), random_state=0)
    return model.set_params(**parameters).fit(table, Y, client_ids=SITES)


def frame(names):
    return pd.DataFrame(X, columns=names)


PREDICTED = fitted(X).predict(X)
OF_NUMBERS, OF_TEXT = fitted(frame(AXIS)), fitted(frame(WRITTEN["text"]))
BOTH = pytest.mark.parametrize("model", [OF_NUMBERS, OF_TEXT], ids=["numbers", "text"])


@pytest.mark.sampled(3)
@pytest.mark.parametrize("written", WRITTEN)
def test_names_that_say_the_same_give_the_same_bits(written):
    table = frame(WRITTEN[written])
    model = fitted(table)
    np.testing.assert_allclose(model.axis_, AXIS, rtol=1e-6)
    assert hasattr(model, "feature_names_in_") == isinstance(table.columns[0], str)  # scikit-learn's habit
    for other in (model, OF_NUMBERS, OF_TEXT):
        assert_array_equal(other.predict(table), PREDICTED)
        assert_array_equal(other.predict(pl.DataFrame(X, schema=list(map(str, table.columns)))), PREDICTED)
    for names in WRITTEN.values():
        assert_array_equal(model.predict(frame(names)), PREDICTED)


@BOTH
def test_another_order_is_refused_with_both_names_and_the_remedy(model):
    for places in (np.arange(P)[::-1], np.array([0, 2, 1, *range(3, P)])):
        with pytest.raises(ValueError, match=r"another order, column \d of X is named .* in the model; pass X\[list"):
            model.predict(frame([model._fitted.column_names.names[j] for j in places]))
        with pytest.raises(ValueError, match="bring them into the order of the model's axis_"):
            model.transform(frame([f"{AXIS[j]} nm" for j in places]))
    shuffled = frame(model._fitted.column_names.names).iloc[:, ::-1]
    remedy = shuffled[list(model.axis_ if model is OF_NUMBERS else model.feature_names_in_)]
    assert_array_equal(model.predict(remedy), PREDICTED)


@BOTH
@pytest.mark.parametrize("shift", [0.1, -2.5, 1000.0])
def test_a_shift_is_refused_with_both_values(model, shift):
    with pytest.raises(ValueError, match=rf"column 0 of X is named {AXIS[0] + shift:g}, but '?1100.* interpolate"):
        model.predict(frame(AXIS + shift))


@BOTH
def test_one_column_elsewhere_is_refused(model):
    with pytest.raises(ValueError, match=r"column 3 of X is named 1108, but .*1107\.5.* \(1 of 8 columns differ\)"):
        model.predict(frame([*AXIS[:3], 1108.0, *AXIS[4:]]))


@BOTH
def test_rounding_below_a_hundredth_of_a_step_is_no_shift(model):
    assert_array_equal(model.predict(frame(AXIS + 0.02)), PREDICTED)
    with pytest.raises(ValueError, match="interpolate"):
        model.predict(frame(AXIS + 0.03))


def test_other_units_and_prefixes_are_refused():
    with pytest.raises(ValueError, match=r"'1100.0 cm-1', but '1100.0 nm' in the model; convert .* in nm"):
        fitted(frame(WRITTEN["nm"])).predict(frame([f"{v} cm-1" for v in AXIS]))
    with pytest.raises(ValueError, match="'absorbance_1100.0', but 'reflectance_1100.0'"):
        fitted(frame([f"reflectance_{v}" for v in AXIS])).predict(frame([f"absorbance_{v}" for v in AXIS]))
    with pytest.raises(ValueError, match="column 0 of X is named 'fat', but 1100 in the model"):
        OF_NUMBERS.predict(frame(["fat", *AXIS[1:]]))


@BOTH
def test_columns_that_are_too_few_or_too_many_are_named(model):
    with pytest.raises(ValueError, match=r"X has 7 columns, but the model was fitted to 8: it lacks '?1102\.5'?;"):
        model.predict(frame(WRITTEN["nm"]).drop(columns="1102.5 nm"))
    with pytest.raises(ValueError, match="has beside them 'fat'"):
        model.predict(frame(WRITTEN["nm"]).assign(fat=Y))


@pytest.mark.parametrize(
    "names", [range(P), range(1, P + 1), [f"x{j}" for j in range(P)], [3, 1, 0, 2, 7, 5, 4, 6], list("abcdefgh")]
)
def test_default_names_are_no_axis_and_are_taken_by_position(names):
    model = fitted(frame(names))
    assert model.axis_ is None
    assert_array_equal(model.predict(frame(names)), PREDICTED)
    if not isinstance(frame(names).columns[0], str):
        assert_array_equal(OF_NUMBERS.predict(frame(names)), PREDICTED)
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            assert_array_equal(OF_TEXT.predict(frame(names)), PREDICTED)


def test_an_array_is_taken_by_position():
    assert_array_equal(OF_NUMBERS.predict(X), PREDICTED)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert_array_equal(OF_TEXT.predict(X), PREDICTED)


@BOTH
def test_an_axis_survives_pickle_file_and_clone(model, tmp_path):
    model.save(tmp_path / "model.npz")
    for other in (pickle.loads(pickle.dumps(model)), FDRMFLTransformer.load(tmp_path / "model.npz")):
        assert_array_equal(other.axis_, AXIS)
        with pytest.raises(ValueError, match="interpolate"):
            other.predict(frame(AXIS + 1))
    assert not hasattr(clone(model), "axis_")
    assert model.get_feature_names_out(list(model._fitted.column_names.names)).tolist() == [
        "fdrmfltransformer0",
        "fdrmfltransformer1",
    ]
    assert model.set_output(transform="pandas").transform(frame(WRITTEN["nm"])).index.tolist() == list(range(N))
    model.set_output(transform="default")


@BOTH
def test_training_goes_on_with_the_same_axis_alone(model):
    model = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match="interpolate"):
        model.partial_fit(frame(AXIS + 1), Y, client_ids=SITES)
    assert model.partial_fit(frame(WRITTEN["nm"]), Y, client_ids=SITES).n_rounds_ == 2


# ------------------------------------------------------------------------------------------------- modalities

NAMES = [("nir", v) for v in AXIS[:5]] + [("raman", v) for v in (200, 210, 220)]
LEVELS = pd.DataFrame(X, columns=pd.MultiIndex.from_tuples(NAMES))
FLAT = frame([f"{modality}__{v} nm" for modality, v in NAMES])


def test_levels_of_columns_are_modalities():
    model = fitted(LEVELS, modalities="prefix")
    assert {name: c.tolist() for name, c in model.modalities_.items()} == {"nir": [0, 1, 2, 3, 4], "raman": [5, 6, 7]}
    assert model.feature_names_in_.tolist()[:2] == ["nir__1100", "nir__1102.5"]
    assert_array_equal(model.axis_, [v for _, v in NAMES])
    assert_array_equal(model.predict(FLAT), model.predict(LEVELS))
    assert_array_equal(model.predict(LEVELS), fitted(FLAT, modalities="prefix").predict(FLAT))
    with pytest.raises(ValueError, match="another order"):
        model.predict(LEVELS[["raman", "nir"]])


def test_a_modality_that_is_not_there_is_missing():
    model, gaps = fitted(LEVELS, modalities="prefix"), LEVELS.copy()
    gaps["raman"] = np.nan
    expected = model.predict(gaps)
    assert not np.array_equal(expected, model.predict(LEVELS))
    nir = FLAT.iloc[:, :5]
    for table in (LEVELS[["nir"]], nir, pl.DataFrame(nir.to_numpy(), schema=list(nir.columns))):
        assert_array_equal(model.predict(table), expected)
    assert model.transform(nir.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match=r"lacks 'raman__220'; .*'nir', 'raman' whole modalities may be left out"):
        model.predict(FLAT.iloc[:, :7])
    plain = fitted(frame(["a__u", "a__v", "a__w", "b__u", "b__v", "b__w", "b__x", "b__y"]), modalities="prefix")
    table = frame(list(plain.feature_names_in_))
    assert_array_equal(
        plain.predict(table.iloc[:, 3:]), plain.predict(table.assign(a__u=np.nan, a__v=np.nan, a__w=np.nan))
    )


def test_an_axis_is_that_of_each_modality_and_of_no_labels():
    table = pd.DataFrame(X, columns=[*AXIS[:5], "fat", "water", "ash"]).assign(site=SITES)
    model = FDRMFLTransformer(
        modalities={"nir": slice(0, 5), "lab": [5, 6, 7]},
        client_column="site",
        tuning=None,
        n_rounds=1,
        random_state=0,
    ).fit(table, Y)
    assert_array_equal(model.axis_, [*AXIS[:5], *[np.nan] * 4])
    assert model.feature_names_in_.tolist()[4:6] == ["1110", "fat"]  # numbers beside text are text
    assert_array_equal(model.predict(table.drop(columns="site")), model.predict(table))
    names = ColumnNames([*range(8)], {"a": np.arange(5), "b": np.arange(5, 8)}, [])
    assert names.axis is None  # default names, though those of b count from 5


@pytest.mark.parametrize("other", ["Raman", "RAMAN", "raman "])
def test_a_modality_written_two_ways_is_refused(other):
    table = frame([*[f"raman__{j}" for j in range(4)], *[f"{other}__{j}" for j in range(4)]])
    with pytest.raises(
        ValueError, match=rf"'raman' \(4\) and '{other}' \(4\) differ only in how the prefix is written"
    ):
        fitted(table, modalities="prefix")


@pytest.mark.parametrize("written", WRITTEN)
def test_columns_are_found_among_others_by_what_their_names_say(written):
    names = ColumnNames(WRITTEN["text"], {"a": np.arange(P)}, [])
    here = [name for name in reversed(WRITTEN[written])] + ["fat", 99.0, f"{AXIS[0] + 1}"]
    found = names.same_as(here)
    pairs = zip(WRITTEN[written], WRITTEN["text"], strict=True)
    assert found == {name: mine for name, mine in pairs if name != mine}


def test_a_column_that_two_names_may_mean_or_two_that_one_may_are_not_taken_for_one():
    nir, raman = [f"nir__{v}" for v in AXIS], [f"raman__{v}" for v in AXIS]
    of_two = ColumnNames(nir + raman, {"nir": np.arange(P), "raman": np.arange(P, 2 * P)}, [])
    assert of_two.same_as([f"{v}" for v in AXIS]) == {}
    assert of_two.same_as([f"NIR__{v}" for v in AXIS]) == dict(zip([f"NIR__{v}" for v in AXIS], nir, strict=True))
    assert ColumnNames(WRITTEN["text"], {"a": np.arange(P)}, []).same_as(nir + raman) == {}
    assert ColumnNames([f"x{j}" for j in range(P)], {"a": np.arange(P)}, []).same_as(nir) == {}


# ------------------------------------------------------------------------------------------------ small things


def test_names_that_are_numbers_are_kept_unless_they_say_nothing():
    assert_array_equal(number_names(frame(AXIS)), AXIS)
    for nothing in (X, frame(range(P)), frame(WRITTEN["text"]), frame(["a", *AXIS[1:]]), frame([*AXIS[:7], np.nan])):
        assert number_names(nothing) is None


def test_outputs_are_called_what_y_says():
    assert output_names(Y) == ("y",)
    assert output_names(pd.Series(Y, name="fat")) == ("fat",)
    assert output_names(pd.Series(Y)) == ("y",)
    assert output_names(pd.DataFrame({"fat": Y})) == ("fat",)
    assert output_names(pd.DataFrame({"fat": Y, "water": Y})) == ("fat", "water")
    assert output_names(pl.Series("fat", Y)) == ("fat",)
    assert output_names(np.stack([Y, Y], 1)) == ("y0", "y1")
