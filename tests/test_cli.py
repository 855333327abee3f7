"""The command line: files whole or not at all, one line for what is wrong, table and progress kept apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from skfdrmfl import __version__
from skfdrmfl.cli import compare as command
from skfdrmfl.cli import main as cli
from skfdrmfl.cli import screen
from skfdrmfl.compare import _compare as compare_module
from skfdrmfl.datasets import make_client_ids
from skfdrmfl.estimator._transformer import FDRMFLTransformer

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


def test_compare_prints_the_table_and_writes_both_files(capsys, tmp_path):
    assert cli.main(QUICK) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Tecator, fat (%): 215 rows x 100 columns, 3 clients (iid), 2 components, 2 folds")
    assert out.index("mean predictor") < out.index("PCA") < out.index("FDRMFL, each client alone")
    assert out.endswith("Written: out/compare.json\nWritten: out/compare.png\n")
    assert "fit" not in out.replace("fit (s)", "")  # no progress among the results
    assert "Done in" in err
    assert sorted(os.listdir(tmp_path / "out")) == ["compare.json", "compare.png"]
    written = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert written["settings"]["target"] == "fat"
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_options_reach_the_comparison(tmp_path):
    options = "--target water --clients 4 --scheme dirichlet --components 3 --seed 7 --out a/b --no-figure"
    assert cli.main([*QUICK, *options.split()]) == 0
    assert os.listdir(tmp_path / "a" / "b") == ["compare.json"]
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


def test_corn_is_read_from_the_file_that_is_named(tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((80, 700)) for name in ("m5", "mp5", "mp6")}
    np.savez(tmp_path / "corn.npz", **arrays, y=rng.standard_normal((80, 4)))
    assert cli.main([*QUICK, "--data", "corn", "--path", "corn.npz", "--target", "oil", "--no-figure"]) == 0
    assert capsys.readouterr().out.startswith("Corn, oil (%): 80 rows x 700 columns")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--clients 0", "argument --clients: '0' is not an integer of 1 or more; see skfdrmfl compare --help"),
        ("--seeds two", "argument --seeds: 'two' is not an integer of 1 or more; see skfdrmfl compare --help"),
        ("--data wheat", "argument --data: invalid choice: 'wheat' (choose from"),
        ("--scheme fair", "argument --scheme: invalid choice: 'fair' (choose from"),
        ("--clients 216", "argument --clients: 216 is more than the 215 rows of tecator; pass at most 215."),
        ("--target sugar", "argument --target: sugar is not in tecator; choose from fat, water, protein."),
        ("--components 101", "argument --components: 101 is more than the columns or the rows"),
        ("--folds 194", "argument --folds: 194 is more than the 193 groups; pass at most 193."),
        (
            "--path x.npz",
            "argument --path: x.npz is not used: tecator is packed with the library; leave it out.",
        ),
        ("--seed 4294967294", "argument --seed: 4294967294 leaves no 3 seeds up to 4294967295, the last one there is;"),
        ("--data corn --path x.npz", "argument --path: The Corn data are not at x.npz"),
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
def test_a_failure_while_writing_keeps_the_former_files_whole(monkeypatch, capsys, tmp_path, error):
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


def test_without_matplotlib_the_table_is_there_and_the_remedy_too(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(QUICK) == 0
    out, err = capsys.readouterr()
    assert "FDRMFL, y_hat only" in out
    assert 'no figure: Figures need matplotlib, which is not installed; run: pip install "skfdrmfl[plot]"' in err
    assert os.listdir(tmp_path / "out") == ["compare.json"]


def test_without_tqdm_progress_is_eleven_lines(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with screen.progress_bar() as progress:
        for done in range(116):
            progress(done, 115, "PCA")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.split()[0] for line in lines] == [str(10 * tenth) for tenth in range(11)]
    assert lines[-1] == "100 %  115 of 115 fits, PCA"


def test_with_tqdm_progress_reaches_the_end_on_stderr(capsys):
    with screen.progress_bar() as progress:
        for done in range(4):
            progress(done, 3, "PCA")
    out, err = capsys.readouterr()
    assert out == ""
    assert "/3" in err


def test_the_module_is_the_program_and_draws_only_when_asked():
    code = (
        "import runpy, sys; sys.argv = ['skfdrmfl', '--version']; import skfdrmfl.compare, skfdrmfl.compare._plots;"
        "assert 'matplotlib' not in sys.modules; runpy.run_module('skfdrmfl', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"skfdrmfl {__version__}\n", "")


def test_help_names_every_option_and_its_default(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["compare", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in (
        "--data",
        "--path",
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
    for default in ("tecator", "iid", "(default: 3)", "(default: 2)", "(default: 5)", "(default: out)"):
        assert default in text
