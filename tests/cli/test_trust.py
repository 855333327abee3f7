"""`skfdrmfl predict` says which rows lie outside: columns, a line, and with --strict an exit status."""

import shutil

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.cli import main as cli

N, P = 60, 20
DOMAIN = ["T2", "T2_limit", "Q", "Q_limit", "inside", "y_inside", "moved_by"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Spectra in a file, a model of them, and the same with a spike in row 4."""
    folder = tmp_path_factory.mktemp("fitted")
    rng = np.random.default_rng(0)
    x = 3 + rng.standard_normal((N, 3)) @ np.sin(np.arange(P) / np.array([[3.0], [5.0], [7.0]]))
    frame = pd.DataFrame(x + 0.01 * rng.standard_normal((N, P)), columns=[str(1000 + 10 * j) for j in range(P)])
    frame["fat"], frame["site"] = x[:, 0] - x[:, 9], np.repeat(["a", "b"], N // 2)
    frame.to_csv(folder / "data.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit = ["fit", "data.csv", "--target", "fat", "--clients-column", "site", "--no-figure", "--save", "model.npz"]
        assert cli.main([*fit, "--tuning", "none", "--set", "n_rounds=3"]) == 0
    spoiled = frame.copy()
    spoiled.loc[3, ["1040", "1050", "1060"]] += 5.0
    spoiled.to_csv(folder / "spoiled.csv", index=False)
    return folder


@pytest.fixture
def spectra(folder, tmp_path, monkeypatch):
    """The rows with a spike, and all of that in the folder of the test."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return pd.read_csv("spoiled.csv")


def test_rows_outside_are_counted_named_and_end_strict_with_a_status_of_its_own(spectra, capsys):
    arguments = ["predict", "model.npz", "spoiled.csv", "--out", "p.csv", "--no-figure"]
    assert cli.main(arguments) == 0
    assert "1 of 60 rows lie outside the training rows" in capsys.readouterr().out
    result = pd.read_csv("p.csv")
    table = FDRMFLTransformer.load("model.npz").domain(spectra.drop(columns=["fat", "site"]))
    for name in DOMAIN[:4]:
        assert_allclose(result[name], table[name], rtol=1e-6)
    assert np.flatnonzero(~result["inside"]).tolist() == [3]
    assert set(result["moved_by"][3].split(", ")) == {"1040", "1050", "1060"}
    assert cli.main([*arguments, "--strict"]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "row 4 is the first" in said
    assert len(pd.read_csv("p.csv")) == N


@pytest.mark.slow
def test_the_rows_of_the_fit_pass_strict_and_the_level_is_a_share(spectra, capsys):
    arguments = ["predict", "model.npz", "data.csv", "--out", "p.csv", "--no-figure", "--strict"]
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, "--level", "1.5"]) == 2
    assert "--level" in capsys.readouterr().err


def test_intervals_are_columns_and_a_model_without_rows_held_out_says_why_it_has_none(spectra, capsys):
    arguments = ["predict", "model.npz", "data.csv", "--out", "p.csv", "--no-figure", "--confidence", "0.8"]
    assert cli.main(arguments) == 0
    assert "No intervals: the model knows no errors on rows held out" in capsys.readouterr().out
    fit = ["fit", "data.csv", "--target", "fat", "--clients-column", "site", "--no-figure", "--save", "held.npz"]
    stopping = ["--set", "early_stopping=True", "--set", "validation_fraction=0.3", "--set", "n_rounds=3"]
    assert cli.main([*fit, "--tuning", "none", *stopping]) == 0
    assert cli.main(["predict", "held.npz", *arguments[2:]]) == 0
    assert "rows held out by the row's own client" in capsys.readouterr().out
    result, model = pd.read_csv("p.csv"), FDRMFLTransformer.load("held.npz")
    table = pd.read_csv("data.csv")
    ends = model.predict_interval(table.drop(columns=["fat", "site"]), 0.8, client_ids=table["site"])
    assert_allclose(result[["lower_fat", "upper_fat"]], ends, rtol=1e-9)
    assert cli.main(["predict", "held.npz", *arguments[2:-1], "0.93"]) == 0
    said = capsys.readouterr().out
    assert "by all clients together" in said and "Not by each client's own: client a holds out 9 rows" in said


@pytest.mark.slow
def test_a_row_without_prediction_has_empty_cells_and_the_others_their_own_limits_and_intervals(spectra, capsys):
    table = pd.read_csv("data.csv").assign(site=np.repeat([1, 2], N // 2))
    table.to_csv("numbered.csv", index=False)
    fit = ["fit", "numbered.csv", "--target", "fat", "--clients-column", "site", "--no-figure", "--save", "held.npz"]
    stopping = ["--set", "early_stopping=True", "--set", "validation_fraction=0.3", "--set", "n_rounds=3"]
    assert cli.main([*fit, "--tuning", "none", *stopping]) == 0
    gap = spectra.assign(site=table["site"])
    gap.loc[0, "1000"], gap.loc[9, "site"] = np.nan, 3
    gap.to_csv("gap.csv", index=False)
    arguments = ["predict", "held.npz", "gap.csv", "--out", "p.csv", "--no-figure", "--confidence", "0.8", "--strict"]
    assert cli.main(arguments) == 3
    said = capsys.readouterr()
    assert "row 4 is the first" in said.err
    assert "the row's own client, for 1 row of clients that the model does not know by all together" in said.out
    result, model = pd.read_csv("p.csv"), FDRMFLTransformer.load("held.npz")
    assert len(result) == N
    assert result.loc[0, [*DOMAIN, "predicted_fat", "lower_fat", "upper_fat"]].isna().all()
    x = gap.drop(columns=["fat", "site"])[1:]
    ends = model.predict_interval(x, 0.8, client_ids=gap["site"].astype(str)[1:])
    assert_allclose(result[["lower_fat", "upper_fat"]][1:], ends, rtol=1e-9)
    assert_allclose(result["T2"][1:], model.domain(x)["T2"], rtol=1e-6)


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(
    ("command", "suspects"), [("fit", "warn"), ("fit", "drop"), ("compare", "warn"), ("compare", "ignore")]
)
def test_suspect_rows_are_said_once_by_their_numbers_in_the_file(command, suspects, spectra, capsys, monkeypatch):
    def of_two_folds(X, y, client_ids, transformer, **options):
        for rows in (slice(0, 40), slice(2, None)):
            transformer.fit(X.iloc[rows], y.iloc[rows], client_ids=client_ids[rows])
        raise ValueError("enough")

    monkeypatch.setattr("skfdrmfl.compare.compare", of_two_folds)
    frame = pd.read_csv("data.csv")
    frame.loc[[1, 5], "fat"] = np.nan  # these do not train
    frame.iloc[7, :P] *= 10
    frame.to_csv("spoiled.csv", index=False)
    options = ["--target", "fat", "--clients-column", "site", "--no-figure", "--tuning", "none", "--set", "n_rounds=1"]
    cli.main([command, "spoiled.csv", *options, "--set", f"suspects={suspects}"])
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if "corrupt" in line]
    assert len(said) == (suspects != "ignore")
    if (command, suspects) == ("fit", "drop"):  # what is said of the fit is said of the rows that train
        model, kept = FDRMFLTransformer.load("out/model.npz"), frame.dropna().drop(index=7)
        errors = model.predict(kept[frame.columns[:P]]) - kept["fat"]
        assert f"RMSEC fat {np.sqrt((errors**2).mean()):.4g}," in out
        assert "suspect rows" not in out and "far outside" not in err
    for line in said:
        assert f"skfdrmfl {command}: warning: 1 of 58 rows look corrupt (1 other units): 8; " in line
        assert ("suspects=drop" in line) == (suspects == "warn")
