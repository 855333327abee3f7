"""Predictions of saved models with numpy alone: the bits of the estimator, nothing imported, refusals."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer, light
from skfdrmfl.encoders import Conv1DEncoder, DenseEncoder, LinearEncoder

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 9))
Y = X[:, 0] - X[:, 4] ** 2
IDS = np.arange(60) % 3
HOLES = X.copy()
HOLES[::4, 5:] = np.nan
SMOOTH = np.cumsum(RNG.standard_normal((60, 24)), axis=1)
TWO = {"modalities": {"a": slice(0, 5), "b": [5, 6, 7, 8]}}
OPTIONS = {"n_rounds": 2, "local_epochs": 1, "random_state": 0}
CASES = {
    "one network": (X, Y, {}),
    "float32": (X.astype(np.float32), Y, {}),
    "missing modalities": (HOLES, Y, {**TWO, "fusion": "attention"}),
    "gates, learned variances": (X, Y, {**TWO, "fusion": "gated", "alignment": "diagonal"}),
    "encoders": (X, Y, {**TWO, "encoders": {"a": DenseEncoder((4, 3), skip=False), "b": LinearEncoder()}}),
    "two outputs, a head": (X, np.column_stack([Y, X[:, 1]]), {"head_hidden_layer_sizes": 4}),
    "pre-treated": (SMOOTH, Y, {"pretreatment": "snv+sg1"}),
    "privacy": (X, Y, {"dp_noise_multiplier": 1.0, "dp_clip_norm": 1.0, "dp_bounds": {"X": (-4, 4), "y": (-9, 4)}}),
    "mixture": (SMOOTH, Y, {"tuning": "mixture"}),
    "mixture, missing modalities": (HOLES, Y, {**TWO, "fusion": "mean", "tuning": "mixture"}),
}


def saved(path, table, y, **parameters):
    if "dp_bounds" in parameters:
        parameters["preprocessing"] = "standardize"
    model = FDRMFLTransformer(**OPTIONS, **({"tuning": None} | parameters)).fit(table, y, client_ids=IDS)
    model.save(path)
    return model


@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", CASES)
def test_numpy_alone_gives_the_bits_of_the_estimator(case, tmp_path):
    table, y, parameters = CASES[case]
    model = saved(tmp_path / "model.npz", table, y, **parameters)
    found = light.load(tmp_path / "model.npz")
    assert found.predict(table[:7]).tobytes() == model.predict(table[:7]).tobytes()
    assert found.transform(table[:7]).tobytes() == model.transform(table[:7]).tobytes()
    assert found.transform(table).dtype == model.transform(table).dtype


@pytest.mark.parametrize(("how", "tuning"), [("slope", None), ("input", None), ("head", "mixture")])
def test_an_adapted_model_predicts_as_adapted(how, tuning, tmp_path):
    table, y = 1.1 * SMOOTH[:9] + 0.1, np.arange(9) * 7.0
    model = saved(tmp_path / "model.npz", SMOOTH, Y, tuning=tuning)
    adapted = model.adapt(table, y, how)
    adapted.save(tmp_path / "adapted.npz")
    found = light.load(tmp_path / "adapted.npz")
    assert found.predict(table).tobytes() == adapted.predict(table).tobytes() != model.predict(table).tobytes()
    assert found.transform(table).tobytes() == adapted.transform(table).tobytes()


@pytest.mark.parametrize(("table", "why"), [(X[:0], "X has no rows"), (X * 1j, "X is complex")])
def test_no_rows_and_complex_numbers_are_refused(table, why, tmp_path):
    saved(tmp_path / "model.npz", X, Y)
    with pytest.raises(ValueError, match=why):
        light.predict_file(tmp_path / "model.npz", table)


def test_one_layer_after_another_by_hand(tmp_path):
    """The equations once more, from the arrays of an estimator."""
    model = saved(tmp_path / "model.npz", X, Y, preprocessing=None, hidden_layer_sizes=(5,))
    w = model.weights_
    first = X @ w["encoder.x.weight0"].T + w["encoder.x.bias0"][:, 0]
    code = (first[:, :5] / (1 + np.exp(-first[:, :5]))) @ w["encoder.x.weight1"].T + w["encoder.x.bias1"][:, 0]
    z = (code + first[:, 5:]) @ w["fusion.weight0"].T + w["fusion.bias0"][:, 0]
    y_hat = z @ w["head.weight0"].T + w["head.bias0"][:, 0]
    assert_allclose(light.predict_file(tmp_path / "model.npz", X), y_hat[:, 0] * Y.std() + Y.mean(), rtol=1e-9)


def test_a_process_that_predicts_imports_numpy_and_the_standard_library_alone(tmp_path):
    model = saved(tmp_path / "model.npz", SMOOTH, Y, tuning="mixture").adapt(SMOOTH[:9], Y[:9] + 1.0, "bias")
    model.save(tmp_path / "model.npz")
    np.save(tmp_path / "rows.npy", SMOOTH)
    model_path, rows_path = str(tmp_path / "model.npz"), str(tmp_path / "rows.npy")
    code = (
        f"import sys; sys.path[:] = {[str(Path(light.__file__).parents[1]), *sys.path]!r};"  # no .pth file is read
        "from skfdrmfl.light import predict_file; import numpy as np;"
        f"print(predict_file({model_path!r}, np.load({rows_path!r})).tobytes().hex());"
        # Of a file: Cython gives sys.modules entries without one.
        "files = {name.partition('.')[0] for name, kind in sys.modules.items() if getattr(kind, '__file__', None)};"
        "print(*files - sys.stdlib_module_names)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    predicted, modules = done.stdout.splitlines()
    assert set(modules.split()) == {"numpy", "skfdrmfl"}
    assert_allclose(np.frombuffer(bytes.fromhex(predicted)), model.predict(SMOOTH), rtol=1e-9)


def test_columns_of_labels_may_be_there_or_not(tmp_path):
    table = np.insert(X, 2, IDS, axis=1)
    model = FDRMFLTransformer(tuning=None, client_column=2, **OPTIONS).fit(table, Y)
    model.save(tmp_path / "model.npz")
    found = light.load(tmp_path / "model.npz")
    table[:, 2] = 77
    for rows in (X, table, pd.DataFrame(X)):
        assert_array_equal(found.predict(rows), model.predict(X))
    assert (table[:, 2] == 77).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (X[:, :8], "9 columns"),
        (X[0], "9 columns"),
        (np.where(np.arange(60)[:, None] == 5, np.inf, X), "not finite in 1 rows .first: row 5"),
        (np.where(np.arange(9) == 6, np.nan, X), "partly NaN"),
        (np.ma.masked_less(X, 0.0), "masked"),
    ],
)
def test_rows_that_the_estimator_refuses_are_refused(rows, message, tmp_path):
    model = saved(tmp_path / "model.npz", HOLES, Y, **TWO)
    with pytest.raises(ValueError):  # in scikit-learn's words
        model.predict(rows)
    with pytest.raises(ValueError, match=message):
        light.load(tmp_path / "model.npz").predict(rows)


@pytest.mark.parametrize("names", [[f"c{j}" for j in range(9)], [1100.0 + 2.0 * j for j in range(9)]])
def test_names_in_another_order_are_refused_and_any_others_not_looked_at(names, tmp_path):
    frame = pd.DataFrame(X, columns=names)
    model = saved(tmp_path / "model.npz", frame, Y)
    found = light.load(tmp_path / "model.npz")
    assert_array_equal(found.predict(frame), model.predict(frame))
    assert_array_equal(found.predict(frame.set_axis(range(9), axis=1)), model.predict(frame))
    with pytest.raises(ValueError, match="in another order"):
        found.predict(frame[names[::-1]])


def test_nan_of_one_modality_is_refused(tmp_path):
    saved(tmp_path / "model.npz", X, Y)
    with pytest.raises(ValueError, match="not finite in 15 rows"):
        light.predict_file(tmp_path / "model.npz", HOLES)


def test_models_that_numpy_alone_cannot_evaluate_are_refused(tmp_path):
    saved(tmp_path / "conv.npz", X, Y, encoders=Conv1DEncoder(n_channels=(2,), kernel_size=3))
    with pytest.raises(ValueError, match=r"'x' by a Conv1DEncoder; use FDRMFLTransformer\.load"):
        light.load(tmp_path / "conv.npz")
    saved(tmp_path / "labels.npz", pd.DataFrame(X).assign(kind="a").rename(columns=str), Y)
    with pytest.raises(ValueError, match=r"categories \(9\); use FDRMFLTransformer\.load"):
        light.load(tmp_path / "labels.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="no skfdrmfl archive"):
        light.load(tmp_path / "text.npz")
