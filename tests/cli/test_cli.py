"""The command line: files whole or not at all, one line for what is wrong, table and progress kept apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import drawn_of_one, few_rivals
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GroupKFold

from skfdrmfl import __version__
from skfdrmfl.cli import compare as command
from skfdrmfl.cli import main as cli
from skfdrmfl.cli import screen
from skfdrmfl.cli.fit import errors_text, held_out_errors
from skfdrmfl.cli.options import Parser, add_columns, add_model
from skfdrmfl.cli.output import output_folder
from skfdrmfl.cli.parameters import transformer
from skfdrmfl.compare import _compare as compare_module
from skfdrmfl.compare import compare
from skfdrmfl.datasets import make_client_ids
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.metrics import chemometric_report

QUICK = ["compare", "--seeds", "1", "--folds", "2"]


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch, tmp_path):
    """The default transformer, trained for two rounds; relative paths lead to a folder of the test."""
    monkeypatch.setitem(FDRMFLTransformer.__init__.__kwdefaults__, "n_rounds", 2)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("trained before the arguments were checked")

    monkeypatch.setattr(compare_module, "cross_validate", refuse)


@pytest.fixture(scope="module")
def finished():
    """A comparison, quickly."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((24, 3))
    return compare(
        X, X[:, 0], np.arange(24) % 2, n_splits=2, n_seeds=1, transformer=FDRMFLTransformer(n_rounds=1, tuning=None)
    )


def test_compare_prints_the_table_and_writes_both_files_of_what_is_asked_for(capsys, tmp_path, monkeypatch):
    few_rivals(monkeypatch, "mean predictor", "PCA", "RidgeCV, all columns")
    drawn_of_one(monkeypatch, "FDRMFL")
    options = "--target water --clients 4 --scheme dirichlet --components 3 --seed 7 --out a/b --tuning none"
    assert cli.main([*QUICK, *options.split()]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Tecator, water (%): 215 rows x 100 columns, 4 clients (dirichlet), 3 components, 2 folds")
    assert out.index("mean predictor") < out.index("PCA") < out.index("FDRMFL, each client alone")
    *_, verdict, written = out.split("\n\n")
    assert verdict.startswith("FDRMFL has an RMSE of")
    assert "Predicting the mean has" in verdict
    assert written == "Written: a/b/compare.json\nWritten: a/b/compare.png\n"
    assert "fit" not in out.replace("fit (s)", "")  # no progress among the results
    assert "Done in" in err
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["compare.json", "compare.png"]
    assert (tmp_path / "a" / "b" / "compare.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "a" / "b" / "compare.json").read_text(encoding="utf-8"))
    expected = {
        "target": "water",
        "n_clients": 4,
        "scheme": "dirichlet",
        "n_components": 3,
        "n_seeds": 1,
        "n_splits": 2,
        "random_state": 7,
    }
    assert written["settings"].items() >= expected.items()
    ids = make_client_ids(written["measured"], 4, "dirichlet", random_state=7)
    assert written["client_ids"] == [ids.tolist()]


@pytest.mark.slow
def test_rivals_are_estimators_that_can_be_imported(table, tmp_path, monkeypatch):
    few_rivals(monkeypatch, "mean predictor")
    (tmp_path / "mine.py").write_text(
        "from sklearn.linear_model import Lasso\nfrom sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\nlasso = make_pipeline(StandardScaler(), Lasso())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    wanted = {
        "DecisionTreeRegressor": "sklearn.tree:DecisionTreeRegressor(max_depth=2)",
        "leaves": "leaves=sklearn.tree.DecisionTreeRegressor(max_depth=2, random_state=0, criterion='absolute_error')",
        "kernel": "kernel = sklearn.decomposition:KernelPCA(n_components=1)",
        "lasso": "mine:lasso",
    }
    options = [option for text in wanted.values() for option in ("--rivals", text)]
    assert cli.main([*QUICK, "data.csv", *COLUMNS, *options, "--seed", "5", "--tuning", "none", "--no-figure"]) == 0
    written = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert written["settings"]["rivals"] == {
        "DecisionTreeRegressor": "DecisionTreeRegressor(max_depth=2, random_state=5)",
        "leaves": "DecisionTreeRegressor(criterion='absolute_error', max_depth=2, random_state=0)",
        "kernel": "KernelPCA(n_components=1, random_state=5)",
        "lasso": "Pipeline(steps=[('standardscaler', StandardScaler()), ('lasso', Lasso())])",
    }
    names = [method["name"] for method in written["methods"]]
    assert names[names.index("FDRMFL") - 4 : names.index("FDRMFL")] == list(wanted)


@pytest.mark.parametrize(
    ("texts", "fact"),
    [
        (["SVR"], "SVR names no class in a module; write it as module:Class, such as sklearn.svm:SVR"),
        (["sklearn.svm:"], "sklearn.svm: names no class in a module"),
        (["sklearn.svn:SVR"], "sklearn.svn:SVR cannot be imported (No module named 'sklearn.svn'); correct or install"),
        (["broken:SVR"], "broken:SVR cannot be imported (division by zero); correct or install"),
        (["sklearn.svm:SVX"], "sklearn.svm:SVX cannot be imported (module 'sklearn.svm' has no attribute 'SVX'); did"),
        (["sklearn.svm:l1_min_c"], "sklearn.svm:l1_min_c is no estimator; write it as"),
        (["sklearn.pipeline:Pipeline"], "sklearn.pipeline:Pipeline is refused (Pipeline.__init__() missing 1 required"),
        (["sklearn.svm:SVR(c=1)"], "sklearn.svm:SVR(c=1) is refused (SVR.__init__() got an unexpected keyword"),
        *(
            ([text], f"{text} has parameters that are not name=value, with numbers or quoted texts")
            for text in (
                "sklearn.svm:SVR(10)",
                "sklearn.svm:SVR(C=ten)",
                "sklearn.svm:SVR(C=1",
                "sklearn.svm:SVR(**{})",
            )
        ),
        (["made:lasso(alpha=1)"], "made:lasso(alpha=1) has parameters, but is made already; leave them out."),
        (["sklearn.svm:SVR", "sklearn.svm:SVR(C=1)"], "sklearn.svm:SVR(C=1) is the second rival called SVR; name it:"),
        (["PCA=sklearn.decomposition:KernelPCA"], "PCA is the name of a method that is compared anyway; call it"),
    ],
    ids=str,
)
def test_a_rival_that_is_none_is_one_line(no_training, capsys, tmp_path, monkeypatch, texts, fact):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "made.py").write_text("from sklearn.linear_model import Lasso\nlasso = Lasso()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cli.main(["compare", *(option for text in texts for option in ("--rivals", text))]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"skfdrmfl compare: error: argument --rivals: {fact}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--clients 0", "argument --clients: '0' is not an integer of 1 or more; see skfdrmfl compare --help"),
        ("--seeds two", "argument --seeds: 'two' is not an integer of 1 or more; see skfdrmfl compare --help"),
        ("--scheme fair", "argument --scheme: invalid choice: 'fair' (choose from"),
        ("--clients 216", "argument --clients: 216 is more than the 215 rows of tecator; pass at most 215."),
        ("--target sugar", "argument --target: sugar is not in tecator; choose from fat, water, protein."),
        ("--components 101", "argument --components: 101 is more than the columns or the rows"),
        ("--folds 194", "argument --folds: 194 is more than the 193 groups; pass at most 193."),
        ("--seed 4294967294", "argument --seed: 4294967294 leaves no 3 seeds up to 4294967295, the last one there is;"),
    ],
)
def test_a_wrong_argument_is_one_line_with_value_and_remedy(no_training, capsys, tmp_path, arguments, message):
    assert cli.main(["compare", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"skfdrmfl compare: error: {message}")
    assert os.listdir(tmp_path) == []  # the folder that was made for the results is gone again


def test_no_command_and_an_unknown_one_are_one_line_too(capsys):
    for arguments in ([], ["fly"], ["compare", "--fly"]):
        assert cli.main(arguments) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert err.endswith("--help\n")


@pytest.mark.parametrize("folder", ["taken", "taken/deeper"])
def test_a_folder_that_cannot_be_written_is_found_before_any_training(no_training, capsys, tmp_path, folder):
    (tmp_path / "taken").write_text("a file")
    assert cli.main(["compare", "--out", folder]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"skfdrmfl compare: error: argument --out: {folder} cannot be written to (")
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == ["taken"]


def test_a_folder_in_the_place_of_a_result_is_found_before_any_training(no_training, capsys, tmp_path):
    (tmp_path / "out" / "compare.png").mkdir(parents=True)
    assert cli.main(["compare", "--out", "out"]) == 2
    assert "argument --out: out holds a folder named compare.png; move that away" in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == ["compare.png"]


def test_interrupted_work_leaves_one_line_and_nothing_else(monkeypatch, capsys, tmp_path):
    def interrupt(*args, **kwargs):
        assert os.listdir("out")  # the folder is in use
        raise KeyboardInterrupt

    monkeypatch.setattr(compare_module, "cross_validate", interrupt)
    assert cli.main(QUICK) == 130
    assert capsys.readouterr() == ("", "\nskfdrmfl: interrupted; nothing was written.\n")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_failure_while_writing_keeps_the_former_files_whole(monkeypatch, capsys, tmp_path, error, finished):
    monkeypatch.setattr(command, "compare_task", lambda *args: finished)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "compare.json").write_text("former")

    def fail(text):
        def write(path):
            path.write_text(text[:100])
            raise error

        return write

    monkeypatch.setattr(command, "text_file", fail)
    assert cli.main(QUICK) == (130 if error is KeyboardInterrupt else 1)
    assert os.listdir(tmp_path / "out") == ["compare.json"]
    assert (tmp_path / "out" / "compare.json").read_text() == "former"
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a POSIX signal here")
def test_ctrl_c_in_a_terminal_ends_with_130(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "skfdrmfl", "compare"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    assert out == b""
    assert err.decode().endswith("skfdrmfl: interrupted; nothing was written.\n")
    assert b"Traceback" not in err
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a POSIX signal here")
def test_ctrl_c_while_the_folder_is_made_leaves_no_folder(monkeypatch, tmp_path):
    class Interrupted(tempfile.TemporaryDirectory):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Interrupted)
    with pytest.raises(KeyboardInterrupt), output_folder("--out", tmp_path / "a" / "b", ["table"]):
        raise AssertionError("the work began")
    assert os.listdir(tmp_path) == []


def test_ctrl_c_while_libraries_are_loaded_waits_until_they_are():
    loaded = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), screen.interrupt_waits():
        signal.raise_signal(signal.SIGINT)
        loaded.append("all")
    assert loaded == ["all"]
    assert signal.getsignal(signal.SIGINT) is before
    with screen.interrupt_waits():
        loaded.append("again")
    assert loaded == ["all", "again"]


def test_without_matplotlib_the_table_is_there_and_the_remedy_too(monkeypatch, capsys, tmp_path, finished):
    monkeypatch.setattr(command, "compare_task", lambda *args: finished)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(QUICK) == 0
    out, err = capsys.readouterr()
    assert "FDRMFL, y_hat only" in out
    assert 'no figure: Figures need matplotlib, which is not installed; run: pip install "matplotlib' in err
    assert os.listdir(tmp_path / "out") == ["compare.json"]


def test_without_tqdm_progress_is_ten_lines(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with screen.progress_bar() as progress:
        for done in range(116):
            progress(done, 115, "PCA")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.split()[1] for line in lines] == [f"{-(-115 * tenth // 10)}/115" for tenth in range(1, 11)]
    assert lines[-1] == "compare: 115/115 fits, PCA"


def test_with_tqdm_progress_reaches_the_end_on_stderr(capsys):
    with screen.progress_bar() as progress:
        for done in range(4):
            progress(done, 3, "PCA")
    out, err = capsys.readouterr()
    assert out == ""
    assert "/3" in err


def test_help_names_every_option_and_its_default(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["compare", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in (
        "--target",
        "--clients",
        "--scheme",
        "--components",
        "--seeds",
        "--folds",
    ):
        assert option in text
    for option in ("--seed S", "--out", "--no-figure"):
        assert option in text
    for default in ("iid", "(default: 3)", "(default: 2)", "(default: 5, or as many", "(default: out)"):
        assert default in text


# ------------------------------------------------------------------------------------------- a table of one's own
COLUMNS = ["--target", "fat", "--clients-column", "site", "--groups-column", "sample"]


def write_table():
    """60 rows of 20 wavelengths, in data.csv; what else is in the table is left out, or said."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 20))
    frame = pd.DataFrame(X, columns=[str(1000 + 10 * j) for j in range(20)])
    frame["fat"] = X[:, 0] + 2 * X[:, 1] + 0.1 * rng.standard_normal(60)
    frame["site"] = np.array(["lab", "mill"])[np.arange(60) % 2]
    frame["sample"] = np.arange(60) // 2
    frame["operator"] = "Ann"
    frame.to_csv("data.csv", index=False, sep=";", decimal=",")
    return frame


@pytest.fixture
def table(tmp_path):
    return write_table()


@pytest.mark.slow
def test_three_commands_lead_from_a_table_to_comparison_model_predictions_and_pictures(table, capsys, tmp_path):
    assert cli.main(["compare", "data.csv", *COLUMNS, "--seeds", "1", "--folds", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Read data.csv: 60 rows x 24 columns (separated by ';').\n")
    assert "Numbers with a decimal comma: fat, 1000, 1010, ... 1190 (21 in all)." in out
    assert "Left out, text: operator (1 values, such as 'Ann')" in out
    assert "data.csv, fat: 60 rows x 20 columns, 2 clients (site), 2 components, 2 folds grouped by sample" in out
    written = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert written["measured"] == table["fat"].tolist()
    assert written["client_ids"] == [table["site"].tolist()]
    samples = table["sample"].astype(str)  # labels are the text of the file
    assert written["groups"] == np.unique(samples, return_inverse=True)[1].tolist()
    folds = GroupKFold(2, shuffle=True, random_state=0).split(table, groups=samples)
    assert [np.flatnonzero(np.array(written["fold"]) == k).tolist() for k in (0, 1)] == [b.tolist() for _, b in folds]

    assert cli.main(["fit", "data.csv", *COLUMNS, "--random-state", "3", "--set", "learning_rate=0.02"]) == 0
    out, err = capsys.readouterr()
    assert "[FDRMFL] training: 100%" in err and "round" not in out.split("RMSEC")[0]
    model = FDRMFLTransformer.load("out/model.npz")
    X, y = table.iloc[:, :20], table["fat"]
    expected = FDRMFLTransformer(random_state=3, learning_rate=0.02)
    expected.fit(X, y, client_ids=table["site"], groups=samples)
    assert_array_equal(model.predict(X), expected.predict(X))
    assert model.verbose == 0
    record = json.loads((tmp_path / "out" / "model.json").read_text(encoding="utf-8"))
    assert record["clients"] == {"lab": 30, "mill": 30}
    assert record["rmsec"] == [pytest.approx(np.sqrt(np.mean((expected.predict(X) - y) ** 2)))]
    assert f"RMSEC fat {record['rmsec'][0]:.4g}" in out
    assert record["rmse_held_out"] == held_out_errors(model, table[["fat"]])
    assert errors_text(["fat"], record["rmsec"], record["rmse_held_out"]) in out

    shuffled = table.iloc[::-1, ::-1].assign(extra=range(60))
    shuffled.to_csv("new.csv", index=False)
    assert cli.main(["predict", "out/model.npz", "new.csv", "--scores"]) == 0
    out = capsys.readouterr().out
    predictions = pd.read_csv("out/predictions.csv")
    passed_on = ["operator", "sample", "site", "fat", "extra"]
    assert [*predictions.columns] == [
        *(*passed_on, "predicted_fat", "lower_fat", "upper_fat"),
        *(*expected.domain(X), "Z1", "Z2"),
    ]
    assert_allclose(predictions["predicted_fat"], expected.predict(X)[::-1], rtol=1e-12)
    assert_allclose(predictions[["Z1", "Z2"]], expected.transform(X)[::-1], rtol=1e-9, atol=1e-12)
    report = chemometric_report(y, expected.predict(X), table["site"])
    for line in str(report).splitlines():
        assert line in out
    assert "fitted to this very file" not in out

    assert cli.main(["report"]) == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "skfdrmfl compare data.csv --target fat" in page and "data:image/png;base64," in page
    names = [
        "compare.json",
        "compare.png",
        "model.json",
        "model.npz",
        "model.png",
        "predictions.csv",
        "predictions.png",
    ]
    assert sorted(os.listdir("out")) == [*names, "report.html"]
    for name in ("compare.png", "model.png", "predictions.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("members", "held_out"),
    [
        ([{"name": "network", "error": 1.0}, {"name": "mixture", "error": 0.5}], [0.5]),
        ([{"name": "mixture", "error": np.array([0.5])}], [0.5]),
        ([{"name": "mixture", "error": np.nan}], None),  # of too few rows, or of a private fit
        ([{"name": "network", "error": 1.0}], None),
        ([], None),
    ],
    ids=str,
)
def test_the_error_on_rows_held_out_is_that_of_the_whole_mixture(members, held_out):
    assert held_out_errors(Namespace(members_=members), pd.DataFrame({"fat": [1.0, 2.0]})) == held_out


def test_each_target_has_its_own_error_on_rows_held_out():
    y = pd.DataFrame({"fat": [1.0, 2.0], "water": [3.0, 4.0]})
    assert held_out_errors(Namespace(members_=[{"name": "mixture", "error": [0.5, 2.0]}]), y) == [0.5, 2.0]
    assert held_out_errors(Namespace(members_=[{"name": "mixture", "error": 0.5}]), y) is None
    assert held_out_errors(Namespace(history_={"validation_mse": np.array([0.2, 0.1])}), y) is None


def test_a_fit_that_stopped_early_has_held_rows_out():
    rng = np.random.default_rng(0)
    X, scale = rng.standard_normal((400, 3)), 7.0
    y = pd.DataFrame({"fat": scale * (X[:, 0] + 0.5 * rng.standard_normal(400))})
    model = FDRMFLTransformer(early_stopping=True, validation_fraction=0.5, n_rounds=10, random_state=0)
    (error,) = held_out_errors(model.fit(X, y["fat"]), y)
    assert error == pytest.approx(0.5 * scale, rel=0.15)  # the noise is all that is left


def test_errors_on_rows_fitted_to_stand_beside_those_on_others_and_far_apart_is_said():
    close = errors_text(["fat", "water"], [0.4, 1.0], [0.5, 1.5])
    assert close == (
        "RMSEC fat 0.4, water 1, on the rows it was fitted to.\n"
        "RMSE fat 0.5, water 1.5, on rows held out inside clients; expect that of new rows."
    )
    apart = errors_text(["fat", "water"], [0.1, 1.0], [0.5, 1.5])
    assert "fat: rows held out err 5 times as much as rows fitted to." in apart
    assert "water: rows" not in apart
    assert "err inf times" in errors_text(["fat"], [0.0], [0.5])
    unknown = errors_text(["fat"], [0.4], None)
    assert unknown.startswith("RMSEC fat 0.4, on the rows it was fitted to; a new row errs more. No rows were held out")
    assert "`skfdrmfl compare`" in unknown


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The folder of a model of the table's spectra, written as `fit` writes it."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_table()
        fit = ["fit", "data.csv", *COLUMNS, "--tuning", "none", "--set", "n_rounds=2", "--no-figure"]
        assert cli.main([*fit, "--save", "model.npz"]) == 0
    return folder


@pytest.fixture
def model(table, fitted):
    """That model, in the folder of the test."""
    for name in ("model.npz", "model.json"):
        shutil.copy(fitted / name, name)
    return FDRMFLTransformer.load("model.npz")


def test_predict_needs_no_target_and_finds_columns_by_name(table, model, capsys):
    table.drop(columns=["fat", "site"]).to_csv("bare.csv", index=False)
    capsys.readouterr()
    assert cli.main(["predict", "model.npz", "bare.csv", "--out", "p.csv"]) == 0
    out = capsys.readouterr().out
    assert "Predicted from 20 columns by name; passed on: sample, operator." in out
    assert "No measured values in the table" in out
    assert not os.path.exists("p.png")
    assert_allclose(pd.read_csv("p.csv")["predicted_fat"], model.predict(table.iloc[:, :20]), rtol=1e-12)
    assert cli.main(["predict", "model.npz", "data.csv", "--out", "p.csv", "--no-figure"]) == 0
    assert "the model was fitted to this very file: rmse is RMSEC" in capsys.readouterr().out


def test_predict_says_by_which_rules_columns_were_read(table, model, capsys):
    table.drop(columns=["fat", "site"]).to_csv("commas.csv", index=False, sep=";", decimal=",")
    capsys.readouterr()
    assert cli.main(["predict", "model.npz", "commas.csv", "--out", "p.csv", "--no-figure"]) == 0
    assert "Numbers with a decimal comma: 1000, 1010, 1020, ... 1190 (20 in all)." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop(columns=["1000", "1010"]),
            "lacks 2 of the 20 columns that the model was fitted to: 1000, 1010;",
        ),
        (
            lambda t: t.assign(**{"1020": "high"}),
            "no row that can be predicted; the first has 'high' in column 1020, and the model takes numbers; correct",
        ),
        (
            lambda t: t.assign(**{"1020": np.nan, "1030": np.inf}),
            "no row that can be predicted; the first has 'inf' in column 1030, and the model takes numbers",
        ),
    ],
)
def test_a_table_of_which_no_row_can_be_predicted_is_one_line(table, model, capsys, change, message):
    change(table).to_csv("new.csv", index=False)
    capsys.readouterr()
    assert cli.main(["predict", "model.npz", "new.csv"]) == 1
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not os.path.exists("out")


def test_a_model_without_its_record_still_predicts(table, model, capsys):
    os.remove("model.json")
    assert cli.main(["predict", "model.npz", "data.csv", "--target", "fat", "--no-figure"]) == 0
    assert "fat, 60 rows with measured values" in capsys.readouterr().out
    assert cli.main(["predict", "model.npz", "data.csv", "--no-figure"]) == 0
    assert "predicted_fat" in pd.read_csv("out/predictions.csv")  # its file says so
    model.save("model.npz")
    assert cli.main(["predict", "model.npz", "data.csv", "--no-figure"]) == 0
    assert "predicted_y" in pd.read_csv("out/predictions.csv")  # Python has saved it
    assert cli.main(["predict", "model.npz", "data.csv", "--target", "fat,ash"]) == 2
    assert "names 2 columns; the model predicts 1." in capsys.readouterr().err


def test_nothing_is_written_over_what_is_read(table, model, capsys):
    before = {name: Path(name).read_bytes() for name in ("data.csv", "model.npz", "model.json")}
    os.link("data.csv", "again.csv")
    for arguments in (
        ["predict", "model.npz", "data.csv", "--out", "data.csv"],
        ["predict", "model.npz", "data.csv", "--out", "./again.csv"],
        ["report", "model.json", "--out", "model.json"],
    ):
        assert cli.main(arguments) == 2
        assert "is the file that is read; name another one for the result." in capsys.readouterr().err
    assert before == {name: Path(name).read_bytes() for name in before}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("compare gone.csv --target fat", 1, "gone.csv is not there"),
        ("compare data.csv", 2, "--target: none of the columns is named; choose from 1000, 1010"),
        ("compare data.csv --target fat --clients 61", 2, "--clients: 61 is more than the 60 rows; pass at most 60."),
        (
            "compare data.csv --target fat --groups-column site --folds 5",
            2,
            "--folds: 5 is more than the 2 groups; pass at most 2.",
        ),
        ("compare data.csv --target fat --components 22", 2, "--components: 22 is more than the columns or the rows"),
        (
            "compare data.csv --target fat --set rounds=3",
            2,
            "--set: rounds is no parameter of FDRMFLTransformer; did you",
        ),
        ("compare data.csv --target fat --set n_rounds", 2, "--set: n_rounds has no value; write it as name=value"),
        (
            "compare data.csv --target fat --set tuning=none",
            2,
            "--set: tuning=none has an option of its own; pass --tuning.",
        ),
        ("compare data.csv --target fat --tuning auto", 2, "argument --tuning: invalid choice: 'auto'"),
        ("compare data.csv --target fat --set fusion=best", 2, "--set: fusion=best is refused (The 'fusion' parameter"),
        ("compare data.csv --target fat --modalities prefix", 2, "--modalities: prefix needs names such as nir__1100"),
        ("compare --drop fat", 2, "--drop: fat is for tables; name a FILE too, or leave it out."),
        ("fit data.csv --target fat --save model.bin", 2, "--save: model.bin does not end in .npz"),
        ("predict gone.npz data.csv", 1, "gone.npz is not there; run `skfdrmfl fit` first"),
        ("predict data.csv data.csv", 1, "data.csv"),
        ("predict data.csv data.csv --out p.txt", 2, "--out: p.txt does not end in .csv; pass p.csv."),
        ("report", 1, "out/compare.json is not there; run `skfdrmfl compare` first"),
        ("report data.csv", 1, "data.csv: this is no comparison in the form of this version"),
    ],
)
def test_what_a_command_cannot_do_is_one_line_with_a_remedy(table, no_training, capsys, arguments, status, message):
    assert cli.main(arguments.split()) == status
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == ["data.csv"]


@pytest.mark.slow
def test_without_a_column_of_clients_rows_are_dealt_and_that_is_said(table, capsys):
    arguments = "compare data.csv --target fat --drop site,sample --seeds 1 --folds 2 --clients 2 --no-figure"
    assert cli.main(arguments.split()) == 0
    out = capsys.readouterr().out
    assert "No --clients-column: the rows are dealt to 2 simulated clients (iid)" in out
    written = json.loads(Path("out/compare.json").read_text(encoding="utf-8"))
    assert written["client_ids"] == [make_client_ids(table["fat"], 2, random_state=0).tolist()]


def test_ctrl_c_in_a_comparison_keeps_what_is_finished(table, monkeypatch, capsys):
    few_rivals(monkeypatch, "mean predictor", "RidgeCV, all columns")

    def stop(self, *rows, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(FDRMFLTransformer, "fit", stop)
    assert cli.main(["compare", "data.csv", *COLUMNS, "--seeds", "1", "--folds", "2", "--no-figure"]) == 130
    out, err = capsys.readouterr()
    assert "RidgeCV, all columns" in out and "FDRMFL, central  " not in out
    assert "Interrupted: methods and seeds" in out
    assert err.endswith("\nskfdrmfl: interrupted; what is finished is above and in the files.\n")
    assert os.listdir("out") == ["compare.json"]


def test_ctrl_c_in_a_fit_keeps_the_rounds_that_are_finished(table, monkeypatch, capsys):
    fit = FDRMFLTransformer.fit

    def stopped(self, *rows, **more):
        n_rounds, self.n_rounds = self.n_rounds, 1
        fit(self, *rows, **more)
        self.n_rounds = n_rounds
        raise KeyboardInterrupt

    monkeypatch.setattr(FDRMFLTransformer, "fit", stopped)
    assert cli.main(["fit", "data.csv", *COLUMNS, "--no-figure"]) == 130
    assert capsys.readouterr().err.endswith("interrupted; the model that is written is that after 1 of 2 rounds.\n")
    assert FDRMFLTransformer.load("out/model.npz").n_rounds_ == 1

    def stopped_at_once(self, *rows, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(FDRMFLTransformer, "fit", stopped_at_once)
    assert cli.main(["fit", "data.csv", *COLUMNS, "--save", "other/model.npz"]) == 130
    assert capsys.readouterr().err.endswith("skfdrmfl: interrupted; nothing was written.\n")
    assert not os.path.exists("other")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("n_rounds=7", "n_rounds", 7),
        ("weight_decay=1", "weight_decay", 1.0),
        ("hidden_layer_sizes=64,32", "hidden_layer_sizes", (64, 32)),
        ("hidden_layer_sizes=64", "hidden_layer_sizes", (64,)),
        ("head_hidden_layer_sizes=()", "head_hidden_layer_sizes", ()),
        ("preprocessing=none", "preprocessing", None),
        ("early_stopping=true", "early_stopping", True),
        ("shrinkage=auto", "shrinkage", "auto"),
        ("algorithm=scaffold", "algorithm", "scaffold"),
        ("dp_clip_norm=inf", "dp_clip_norm", float("inf")),
    ],
)
def test_a_parameter_that_is_set_has_the_kind_of_its_default(text, name, value):
    args = Namespace(components=2, tuning="none", modalities=None, set=[text])
    found = transformer(args).get_params()[name]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "tuning"), [([], "mixture"), (["--tuning", "mixture"], "mixture"), (["--tuning", "none"], None)]
)
def test_the_option_of_tuning_is_the_mixture_or_one_network(given, tuning):
    parser = Parser()
    add_model(parser)
    add_columns(parser)
    assert transformer(parser.parse_args(given)).tuning == tuning


@pytest.mark.parametrize("more", ["", pytest.param("import skfdrmfl.compare._plots", marks=pytest.mark.slow)])
def test_no_command_loads_a_library_before_it_runs_and_the_module_is_the_program_and_draws_only_when_asked(more):
    code = (
        "import runpy, sys, skfdrmfl.cli.main as cli\n"
        "assert cli.main(['predict', 'gone.npz', 'gone.csv']) == 1\n"
        "assert not {'numpy', 'torch', 'pandas', 'sklearn', 'matplotlib', 'tqdm'} & set(sys.modules)\n"
        f"{more}\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sys.argv = ['skfdrmfl', '--version']; runpy.run_module('skfdrmfl', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"skfdrmfl {__version__}\n"
    assert done.stderr.startswith("skfdrmfl: error: gone.npz is not there") and done.stderr.count("\n") == 1
