"""What a command has computed is written, whatever fails after it; what cannot be had costs a line, and no result."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import few_rivals
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression

from skfdrmfl.cli import fit as fit_command
from skfdrmfl.cli import main as cli
from skfdrmfl.cli import predict, screen
from skfdrmfl.cli.columns import modality_notes
from skfdrmfl.cli.output import output_folder, text_file, write_picture
from skfdrmfl.cli.rivals import rivals_of
from skfdrmfl.cli.screen import Interrupted
from skfdrmfl.common import extras
from skfdrmfl.compare._plots import plot_predicted
from skfdrmfl.estimator._transformer import FDRMFLTransformer

QUICK = ["--tuning", "none", "--set", "n_rounds=2"]
FIT = ["fit", "data.csv", "--target", "fat", "--clients-column", "site", *QUICK]
COMPARE = ["compare", "data.csv", "--target", "fat", "--clients-column", "site", *QUICK, "--seeds", "1", "--folds", "2"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of its own for each test."""
    monkeypatch.chdir(tmp_path)


def write_table():
    """30 rows of 6 columns, fat and water, three sites; in data.csv."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 6))
    frame = pd.DataFrame(X, columns=[f"{1000 + j}" for j in range(6)])
    frame["fat"] = X[:, 0] + 0.1 * rng.standard_normal(30)
    frame["water"] = X[:, 1] + 0.1 * rng.standard_normal(30)
    frame["site"] = np.array(["a", "b", "c"])[np.arange(30) % 3]
    frame.to_csv("data.csv", index=False)
    return frame


@pytest.fixture
def table():
    return write_table()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The file of a model of fat, by `fit`."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_table()
        assert cli.main([*FIT, "--drop", "water", "--no-figure", "--save", "model.npz"]) == 0
    return folder / "model.npz"


@pytest.fixture
def model(table, fitted):
    """That model in the folder of the test, without its record."""
    shutil.copy(fitted, "model.npz")
    return FDRMFLTransformer.load("model.npz")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    few_rivals(monkeypatch, "mean predictor", "RidgeCV, all columns")


def broken(*args, **kwargs):
    raise RuntimeError("no LaTeX here\nand more")


# ------------------------------------------------------------------------------------------------------ pictures
@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("command", "files", "where"),
    [
        *((FIT, ["model.json", "model.npz"], where) for where in ("draw", "save", "import")),
        (COMPARE, ["compare.json"], "draw"),
    ],
    ids=["fit-draw", "fit-save", "fit-import", "compare-draw"],
)
def test_a_picture_that_cannot_be_drawn_costs_a_line_and_no_result(table, monkeypatch, capsys, command, files, where):
    if where == "draw":
        monkeypatch.setattr(Figure, "subplots", broken)
    elif where == "save":
        monkeypatch.setattr(Figure, "savefig", broken)
    else:
        real = extras.import_module
        monkeypatch.setattr(extras, "import_module", lambda name: broken() if "matplotlib" in name else real(name))
    assert cli.main(command) == 0
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if "figure" in line] == [
        f"skfdrmfl {command[0]}: no figure: no LaTeX here"
    ]
    assert sorted(os.listdir("out")) == files


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["MPLBACKEND", "matplotlibrc"])
def test_settings_of_matplotlib_cost_no_result(model, setting):
    env = {**os.environ, "PYTHONPATH": str(Path(fit_command.__file__).parents[2])}
    if setting == "MPLBACKEND":
        env["MPLBACKEND"] = "foo"
    else:
        Path("matplotlibrc").write_bytes(b"text.usetex: \xff\n")
    command = [sys.executable, "-m", "skfdrmfl", "predict", "model.npz", "data.csv"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("skfdrmfl predict: no figure: ") and done.stderr.count("\n") == 1
    assert os.listdir("out") == ["predictions.csv"]


def test_a_picture_of_an_earlier_run_is_said_to_be_one(tmp_path, capsys):
    (tmp_path / "p.png").write_bytes(b"old")
    with output_folder("--out", tmp_path, ["p.png"]) as write:
        write_picture(write, tmp_path / "p.png", broken, "fit", 50)
    assert capsys.readouterr().err == (
        f"skfdrmfl fit: no figure: no LaTeX here; {tmp_path / 'p.png'} is of an earlier run\n"
    )
    assert (tmp_path / "p.png").read_bytes() == b"old"


def test_memory_that_does_not_suffice_for_a_picture_is_said_after_the_files(table, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(Figure, "savefig", full)
    assert cli.main(FIT) == 1
    out, err = capsys.readouterr()
    assert "Written: out/model.npz\nWritten: out/model.json\n" in out
    assert err.endswith(
        "the memory of this machine does not suffice; leave out columns or rows, or take a larger one.\n"
    )


NAME = "a $x_i$ 100 % ^2 \\frac{" + "long " * 60


@pytest.mark.slow
def test_names_are_drawn_as_they_are():
    """No text of a figure is read as a formula."""
    y, site = np.arange(4.0), np.array([NAME, "$b$", NAME, "$b$"])
    figure = plot_predicted(y, site, {f"{NAME}\nRMSE 1": y + 1, "$r$": y}, title=NAME, unit="$%_")
    figure.savefig(io.BytesIO(), dpi=30)
    texts = figure.findobj(lambda artist: hasattr(artist, "get_parse_math") and "$" in artist.get_text())
    assert {"client $b$", "$r$", "measured ($%_)"} <= {text.get_text() for text in texts}
    assert not any(text.get_parse_math() for text in texts)


def test_long_names_leave_room_for_the_picture(tmp_path):
    figure = Figure()
    axes = figure.subplots()
    axes.scatter([0, 1], [0, 1], label=NAME)
    axes.legend()
    axes.set(title=f"{NAME}\nRMSE 1", xlabel="short")
    with output_folder("--out", tmp_path, ["p.png"]) as write:
        write_picture(write, tmp_path / "p.png", lambda: figure, "fit", 30)
    title, (label,) = axes.get_title().splitlines(), axes.get_legend().get_texts()
    assert max(map(len, (*title, *label.get_text().splitlines()))) <= 40
    assert title[0].startswith("a $x_i$ 100 % ^2") and title[-1] == "RMSE 1" and axes.get_xlabel() == "short"
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_letters_that_a_font_lacks_are_one_line(tmp_path, capsys):
    figure = Figure()
    figure.subplots().set_title("\u4e2d\u6587\u4e2d")
    with warnings.catch_warnings(), output_folder("--out", tmp_path, ["p.png"]) as write:
        warnings.simplefilter("always")
        write_picture(write, tmp_path / "p.png", lambda: figure, "fit", 30)
    assert capsys.readouterr().err == (
        "skfdrmfl fit: the figure's font lacks 2 letters of names; a matplotlibrc can name another as font.family.\n"
    )


def test_a_page_whose_figure_cannot_be_drawn_has_its_tables(table, monkeypatch):
    assert cli.main([*COMPARE, "--no-figure"]) == 0
    monkeypatch.setattr(Figure, "savefig", broken)
    assert cli.main(["report"]) == 0
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "No figure: no LaTeX here" in page and "RidgeCV, all columns" in page


@pytest.mark.sampled(2)
@pytest.mark.parametrize("targets", ["fat", "fat,water"])
def test_the_colours_of_a_fit_are_called_what_they_show(table, monkeypatch, targets):
    drawn = []
    monkeypatch.setattr(fit_command, "write_picture", lambda write, path, draw, *more: drawn.append(draw()))
    assert cli.main(["fit", "data.csv", "--target", targets, "--clients-column", "site", *QUICK]) == 0
    (figure,) = drawn
    assert "fat" in [axes.get_ylabel() for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes[:3]] == ["training", "features Z", "importance"]


# ------------------------------------------------------------------------------------------------ files and streams
def test_what_is_written_stays_when_ctrl_c_comes_after(tmp_path, capsys):
    written = pytest.raises(Interrupted, match=r"one and .*two had been written\.$")
    with written, output_folder("--out", tmp_path / "a", ["one", "two"]) as write:
        write({"one": text_file("1"), "two": text_file("2")})
        raise KeyboardInterrupt
    assert sorted(os.listdir(tmp_path / "a")) == ["one", "two"]
    assert capsys.readouterr().out == f"Written: {tmp_path / 'a' / 'one'}\nWritten: {tmp_path / 'a' / 'two'}\n"


@pytest.mark.parametrize("error", [RuntimeError("after"), OSError(28, "No space left on device")])
def test_the_model_is_written_before_its_record_is_made(table, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(fit_command, "_record", fail)
    if isinstance(error, OSError):
        assert cli.main(FIT) == 1
    else:
        with pytest.raises(RuntimeError):
            cli.main(FIT)
    assert os.listdir("out") == ["model.npz"]
    assert FDRMFLTransformer.load("out/model.npz").n_rounds_ == 2


def test_predictions_are_written_before_they_are_judged(model, monkeypatch):
    monkeypatch.setattr(predict, "_judge", broken)
    with pytest.raises(RuntimeError):
        cli.main(["predict", "model.npz", "data.csv"])
    assert os.listdir("out") == ["predictions.csv"]


class Pipe(io.StringIO):
    """A pipe whose reader has gone, or what else ends a stream, after some letters."""

    def __init__(self, error, after=0):
        super().__init__()
        self.error, self.after = error, after

    def write(self, text):
        if len(self.getvalue()) >= self.after:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize(
    ("error", "status"), [(BrokenPipeError(32, "Broken pipe"), 141), (OSError(28, "No space left on device"), 1)]
)
def test_output_that_nobody_takes_ends_no_command(model, monkeypatch, capsys, error, status):
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdout", Pipe(error, after=20))
    assert cli.main(["predict", "model.npz", "data.csv", "--no-figure"]) == status
    assert os.listdir("out") == ["predictions.csv"]
    assert capsys.readouterr().err == ("" if status == 141 else f"skfdrmfl: error: standard output: {error}\n")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_a_command_whose_reader_ends_early_writes_its_files(model):
    env = {**os.environ, "PYTHONPATH": str(Path(fit_command.__file__).parents[2])}
    python = shlex.quote(sys.executable)
    line = f"{{ {python} -m skfdrmfl predict model.npz data.csv --no-figure; echo $? >status; }} | true"
    done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True)
    assert (done.stderr, Path("status").read_text()) == ("", "141\n")
    assert os.listdir("out") == ["predictions.csv"]


def test_letters_that_a_stream_lacks_end_nothing():
    raw = io.BytesIO()
    stream = screen.Stream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("R² 0.9, ŷ\n")
    stream.flush()
    assert raw.getvalue() == b"R? 0.9, ?\n"
    assert stream.lost is None


def test_warnings_are_lines_of_the_command_each_once(capsys):
    with screen.warning_lines("skfdrmfl predict"):
        warnings.simplefilter("always")
        for text in ("40 of 40 labels\nare unknown", "another", "40 of 40 labels are unknown"):
            warnings.warn(text, UserWarning, stacklevel=1)
    assert capsys.readouterr().err.splitlines() == [
        "skfdrmfl predict: warning: 40 of 40 labels are unknown",
        "skfdrmfl predict: warning: another",
    ]


# --------------------------------------------------------------------------------------------------------- predict
def predictions():
    return pd.read_csv("out/predictions.csv")


def test_a_model_alone_predicts_as_with_its_record(table, model, capsys):
    table.to_csv("new.csv", index=False)
    capsys.readouterr()
    assert cli.main(["predict", "model.npz", "new.csv", "--no-figure"]) == 0
    out = capsys.readouterr().out
    assert "fat, 30 rows with measured values (the model was fitted to this very file" in out
    assert [line.split()[:2] for line in out.splitlines() if line[:7].strip() in ("a", "b", "c")] == [
        [site, "10"] for site in "abc"
    ]
    assert_allclose(predictions()["predicted_fat"], model.predict(table.iloc[:, :6]), rtol=1e-12)


@pytest.mark.slow
def test_labels_are_labels_without_the_record_too(table):
    table["variety"] = np.arange(30) % 3
    table.drop(columns="water").to_csv("data.csv", index=False)
    assert cli.main([*FIT, "--categories", "variety", "--no-figure"]) == 0
    for _ in range(2):
        assert cli.main(["predict", "out/model.npz", "data.csv", "--no-figure"]) == 0
        if os.path.exists("out/model.json"):
            before = predictions()
            os.remove("out/model.json")
    pd.testing.assert_frame_equal(predictions(), before)


@pytest.mark.parametrize(
    ("values", "said", "n_judged"),
    [
        ({0: "pending"}, "fat: 1 value that is no number ('pending'), not judged.", 29),
        ({3: "<0.05", 4: np.inf}, "fat: 2 values that are no numbers ('<0.05', 'inf'), not judged.", 28),
        (dict.fromkeys(range(30), "pending"), "fat: 30 values that are no numbers ('pending'), not judged.", 0),
    ],
    ids=str,
)
def test_reference_values_that_are_no_numbers_are_not_judged(table, model, capsys, values, said, n_judged):
    changed = table.astype({"fat": object})
    for row, value in values.items():
        changed.loc[row, "fat"] = value
    changed.to_csv("new.csv", index=False)
    capsys.readouterr()
    assert cli.main(["predict", "model.npz", "new.csv", "--no-figure"]) == 0
    out = capsys.readouterr().out
    assert said in out
    assert (f"fat, {n_judged} rows with measured values" if n_judged else "fat: no measured values.") in out
    assert_allclose(predictions()["predicted_fat"], model.predict(table.iloc[:, :6]), rtol=1e-12)


def test_a_row_that_cannot_be_predicted_does_not_cost_the_others(table, model, capsys):
    changed = table.astype({"1001": object})
    changed.loc[4, "1001"] = "OVER"
    changed.loc[7, "1000"] = np.nan
    changed.loc[9, "1002"] = np.inf
    changed.to_csv("new.csv", index=False)
    capsys.readouterr()
    assert cli.main(["predict", "model.npz", "new.csv", "--scores", "--no-figure"]) == 0
    out = capsys.readouterr().out
    assert "Not predicted, and left empty: 3 rows (5, 8, 10); row 5 has 'OVER' in column 1001." in out
    assert "fat, 27 rows with measured values" in out
    found, good = predictions(), ~np.isin(np.arange(30), [4, 7, 9])
    X = table.iloc[:, :6]
    assert_allclose(found["predicted_fat"][good], model.predict(X[good]), rtol=1e-12)
    assert_allclose(found[["Z1", "Z2"]][good], model.transform(X[good]), rtol=1e-9, atol=1e-12)
    assert found.loc[~good, ["predicted_fat", "Z1", "Z2"]].isna().all(axis=None)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "form", ["{} nm", "{}.0", "X{}", "{},0", "Abs@{}", "nir__{}", "{}.004"], ids=lambda form: form.format(1000)
)
def test_columns_whose_names_say_the_same_wavelength_are_those_of_the_model(table, model, capsys, form):
    X = table.iloc[:, :6]
    same = table.rename(columns={name: form.format(name) for name in X})
    same.assign(**{"1000.5": 7.0}).to_csv("new.csv", index=False)
    capsys.readouterr()
    assert cli.main(["predict", "model.npz", "new.csv", "--no-figure"]) == 0
    assert "Columns that say the same as those of the model: " in capsys.readouterr().out
    assert_allclose(predictions()["predicted_fat"], model.predict(X), rtol=1e-12)
    assert not {form.format(name) for name in X} & set(predictions())


def test_columns_that_say_another_wavelength_or_one_twice_are_refused(table, model):
    table.rename(columns={name: f"{int(name) + 5000} nm" for name in table.columns[:6]}).to_csv(
        "other.csv", index=False
    )
    assert cli.main(["predict", "model.npz", "other.csv", "--no-figure"]) == 1
    table.drop(columns="1001").assign(**{"1001 nm": 1.0, "X1001": 2.0}).to_csv("two.csv", index=False)
    assert cli.main(["predict", "model.npz", "two.csv", "--no-figure"]) == 1


@pytest.mark.slow
def test_yes_and_no_are_read_at_predict_as_at_fit(table):
    table.assign(organic=["true", "FALSE"] * 15).drop(columns="water").to_csv("data.csv", index=False)
    assert cli.main([*FIT, "--no-figure"]) == 0
    assert cli.main(["predict", "out/model.npz", "data.csv", "--no-figure"]) == 0
    found = predictions()["predicted_fat"]
    table.assign(organic=[1, 0] * 15).drop(columns="water").to_csv("new.csv", index=False)
    assert cli.main(["predict", "out/model.npz", "new.csv", "--no-figure"]) == 0
    assert_allclose(found, predictions()["predicted_fat"], rtol=1e-12)


def test_what_predictions_and_their_errors_lack_is_said(table, capsys):
    table["variety"] = ["x", "y", "z"] * 10
    table.drop(columns="water").to_csv("data.csv", index=False)
    assert cli.main([*FIT, "--categories", "variety", "--no-figure"]) == 0
    new = table.astype({"variety": object, "site": object})
    new.loc[2, "variety"], new.loc[3, "site"], new.loc[4, "1001"], new.loc[5, "fat"] = None, None, -999, -999.0
    new.to_csv("new.csv", index=False)
    capsys.readouterr()
    assert cli.main(["predict", "out/model.npz", "new.csv", "--no-figure"]) == 0
    out = capsys.readouterr().out
    for said in ("variety: 1 row without a label.", "1 row without site, not judged.", "1001 has -999 in row 5, far"):
        assert said in out
    assert "fat has -999 in row 6, far from the rest; pass --na=-999 if that means missing." in out
    assert cli.main(["predict", "out/model.npz", "new.csv", "--na=-999", "--no-figure"]) == 0
    out = capsys.readouterr().out
    assert "far from" not in out and "Not predicted, and left empty: 1 row (5)" in out
    assert predictions()["predicted_fat"].isna().to_numpy().nonzero()[0].tolist() == [4]


MODALITIES = ["fit", "data.csv", "--target", "fat", "--clients-column", "site", "--modalities", "prefix", *QUICK]


@pytest.fixture
def modalities():
    """30 rows of two modalities, of which site c lacks one."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 6))
    frame = pd.DataFrame(X, columns=[*(f"nir__{j}" for j in range(4)), "raman__0", "raman__1"])
    frame["fat"] = X[:, 0] + X[:, 1]
    frame["site"] = np.array(["a", "b", "c"])[np.arange(30) % 3]
    frame.loc[frame["site"] == "c", ["raman__0", "raman__1"]] = np.nan
    frame.to_csv("data.csv", index=False)
    return frame


@pytest.mark.slow
def test_a_modality_that_is_not_there_is_missing_to_a_model_that_has_learned_that(modalities, capsys):
    keep = ["--missing", "keep", "--set", "fusion=attention", "--no-figure"]
    assert cli.main([*MODALITIES, *keep]) == 0
    assert "Modalities: nir (4 columns), raman (2 columns)." in capsys.readouterr().out
    modalities.drop(columns=["raman__0", "raman__1"]).to_csv("nir.csv", index=False)
    assert cli.main(["predict", "out/model.npz", "nir.csv", "--no-figure"]) == 0
    assert "Not in the table, predicted as missing: raman (2 columns)." in capsys.readouterr().out
    found = predictions()["predicted_fat"]
    modalities.assign(raman__0=np.nan, raman__1=np.nan).to_csv("empty.csv", index=False)
    assert cli.main(["predict", "out/model.npz", "empty.csv", "--no-figure"]) == 0
    assert_array_equal(predictions()["predicted_fat"], found)
    modalities.drop(columns=["raman__0"]).to_csv("half.csv", index=False)
    assert cli.main(["predict", "out/model.npz", "half.csv", "--no-figure"]) == 1
    assert "lacks 1 of the 6 columns that the model was fitted to: raman__0" in capsys.readouterr().err


def test_a_modality_that_is_not_there_is_named_to_others(modalities, capsys):
    assert cli.main([*MODALITIES, "--missing", "rows", "--no-figure"]) == 0
    modalities.drop(columns=["raman__0", "raman__1"]).to_csv("nir.csv", index=False)
    assert cli.main(["predict", "out/model.npz", "nir.csv"]) == 1
    err = capsys.readouterr().err
    assert "nir.csv has no columns of raman (2 columns), and the model was not fitted to rows that lack it; add" in err


def test_modalities_whose_names_are_alike_are_refused(modalities, capsys):
    modalities.rename(columns={"raman__1": "Raman__1"}).to_csv("data.csv", index=False)
    assert cli.main([*MODALITIES, "--missing", "keep"]) == 2
    assert "finds 'raman' (1 column) and 'Raman' (1 column), which are alike; write" in capsys.readouterr().err
    assert modality_notes(modalities, Namespace(modalities=None)) == []


# --------------------------------------------------------------------------------------------------------- compare
class Fails(LinearRegression):
    """A rival that cannot be fitted."""

    def fit(self, X, y):
        raise TypeError("no such thing\nat all")


def test_a_rival_that_fails_costs_itself(table, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules[rivals_of.__module__], "resolve_name", lambda path: Fails)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main([*COMPARE, "--rivals", "mine:Fails", "--no-figure"]) == 0
    out, err = capsys.readouterr()
    assert "Left out, as it cannot be fitted: Fails (TypeError: no such thing at all)." in out
    assert (
        err.count("skfdrmfl compare: warning: the rival 'Fails' cannot be fitted and is left out (TypeError: no") == 1
    )
    written = json.loads(Path("out/compare.json").read_text(encoding="utf-8"))
    names = [method["name"] for method in written["methods"]]
    assert "FDRMFL" in names and "Fails" not in names


def test_what_was_compared_before_a_method_failed_is_written(table, monkeypatch, capsys):
    def fail(self, *rows, **more):
        raise ValueError("training diverged")

    monkeypatch.setattr(FDRMFLTransformer, "fit", fail)
    assert cli.main([*COMPARE, "--no-figure"]) == 1
    out, err = capsys.readouterr()
    assert "RidgeCV, all columns" in out and "Written: out/compare.json" in out
    assert "cannot be made with these rows: training diverged; what was finished before is above and in" in err


@pytest.mark.slow
def test_results_are_written_as_they_come_and_say_that_they_are_not_all(table, monkeypatch, capsys):
    """What a signal 9 would find at that time."""
    found, fit = [], FDRMFLTransformer.fit

    def look(self, *rows, **more):
        found.append(json.loads(Path("out/compare.json").read_text(encoding="utf-8")))
        return fit(self, *rows, **more)

    monkeypatch.setattr(FDRMFLTransformer, "fit", look)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # no writing is too soon after another
    assert cli.main([*COMPARE, "--no-figure"]) == 0
    assert capsys.readouterr().out.count("Written: out/compare.json\n") == 1
    assert [one["complete"] for one in found] == [False] * len(found)
    names = [[method["name"] for method in one["methods"]] for one in found]
    assert names[0][0] == "mean predictor" and names[0][-1] == "RidgeCV, all columns"
    assert names[-1][-1] == "FDRMFL, each client alone" and found[-1]["settings"]["target"] == "fat"
    written = Path("out/compare.json").read_text(encoding="utf-8")
    assert json.loads(written)["complete"] is True
    Path("out/compare.json").write_text(json.dumps(found[0]), encoding="utf-8")
    assert cli.main(["report"]) == 0
    assert "Interrupted: methods" in Path("out/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_how_much_is_enough_is_printed_drawn_and_in_the_report(table, capsys):
    columns = {f"{'nir' if j < 3 else 'uv'}__{1000 + j}": table[f"{1000 + j}"] for j in range(6)}
    pd.DataFrame(columns).assign(fat=table["fat"], site=table["site"]).to_csv("data.csv", index=False)
    options = ["--learning-curve", "--by-modality", "--modalities", "prefix", "--permutations", "2"]
    assert cli.main([*COMPARE, *options, "--components", "1"]) == 0
    out = capsys.readouterr().out
    for text in (
        "RMSE by share of each",
        "RMSE by number of clients",
        "nir alone",
        "y permuted inside clients 2 times",
    ):
        assert text in out
    assert Path("out/variations.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path("out/compare.json").read_text(encoding="utf-8"))["settings"]["n_permutations"] == 2
    assert cli.main(["report"]) == 0
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "RMSE by modalities that are used" in page and page.count("data:image/png") == 2
    capsys.readouterr()
    assert cli.main([*COMPARE, "--by-modality"]) == 2
    assert "--by-modality: True needs two modalities or more" in capsys.readouterr().err


def test_folds_are_as_many_as_groups_unless_asked_for(table, capsys):
    arguments = [*COMPARE[:-2], "--groups-column", "site", "--no-figure"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "3 folds, as there are 3 groups." in out and ", 3 folds grouped by site, " in out
    assert cli.main([*arguments, "--folds", "5"]) == 2
    assert "--folds: 5 is more than the 3 groups; pass at most 3." in capsys.readouterr().err
    table.assign(one=1).to_csv("data.csv", index=False)
    assert cli.main([*COMPARE[:-2], "--groups-column", "one"]) == 2
    assert "argument --groups-column: <1 of them> cannot be parted into folds" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- hints
def test_what_is_missing_is_named_as_an_index_has_it(monkeypatch):
    lines = [
        'flwr<1.43,>=1.38; extra == "flower"',
        'pandas>=2.2; extra == "table"',
        'gone>=1; extra == "table"',
        "numpy",
    ]
    monkeypatch.setattr(extras.metadata, "requires", lambda name: lines)
    assert extras.install("table", "gone") == 'pip install "gone>=1"'  # pandas is there
    assert extras.install("flower", "flwr") == 'pip install "flwr<1.43,>=1.38"'
    assert extras.install("plot", "matplotlib") == "pip install matplotlib"


def test_no_message_installs_the_package_itself_from_an_index():
    root = Path(fit_command.__file__).parents[2]
    files = [*root.glob("skfdrmfl/**/*.py"), *root.glob("docs/*.md"), *root.glob("examples/**/*"), root / "README.md"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".md", ".rst")}
    assert len(texts) > 100
    assert [name for name, text in texts.items() if "pip install" in text and "skfdrmfl[" in text] == []
