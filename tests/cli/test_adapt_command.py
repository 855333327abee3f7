"""`skfdrmfl predict` says where a bias or slope is what is wrong, and `skfdrmfl adapt` makes the model without it."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.cli import main as cli

N, P = 60, 12


@pytest.fixture
def frame(tmp_path, monkeypatch):
    """A table, a model of it, and a table of fifteen rows of which y is three higher."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((N, P)), columns=[f"c{j}" for j in range(P)])
    frame["fat"] = frame["c0"] - frame["c1"] + 0.1 * rng.standard_normal(N)
    frame.to_csv("data.csv", index=False)
    fit = ["fit", "data.csv", "--target", "fat", "--no-figure", "--save", "model.npz", "--tuning", "none"]
    assert cli.main([*fit, "--set", "n_rounds=10"]) == 0
    new = frame[:15].assign(fat=frame["fat"] + 3.0)
    new.to_csv("new.csv", index=False)
    return new


def predicted(capsys, model, file):
    """What `predict` prints, and what it writes."""
    capsys.readouterr()
    assert cli.main(["predict", model, file, "--out", "p.csv", "--no-figure"]) == 0
    return capsys.readouterr().out, pd.read_csv("p.csv")["predicted_fat"]


def test_predict_names_what_is_wrong_and_the_command_that_it_names_takes_it_away(frame, capsys):
    said, before = predicted(capsys, "model.npz", "new.csv")
    assert "fat: bias -" in said and "`skfdrmfl adapt model.npz new.csv`" in said
    assert cli.main(["adapt", "model.npz", "new.csv", "--save", "adapted.npz"]) == 0
    assert "* chosen: slope 1, bias " in capsys.readouterr().out
    said, after = predicted(capsys, "adapted.npz", "new.csv")
    assert "skfdrmfl adapt" not in said and "RMSEC" in said
    adapted = FDRMFLTransformer.load("adapted.npz")
    assert_allclose(after - before, (frame["fat"] - before).mean(), rtol=1e-6)
    assert_allclose(after, adapted.predict(frame.drop(columns="fat")), rtol=1e-6)
    assert "skfdrmfl adapt" not in predicted(capsys, "model.npz", "data.csv")[0]


def test_rows_without_a_value_are_left_out_and_refusals_write_nothing(frame, capsys, tmp_path):
    frame.assign(
        fat=frame["fat"].where(frame.index != 2), c1=frame["c1"].astype(str).where(frame.index != 4, "x")
    ).to_csv("gaps.csv", index=False)
    assert cli.main(["adapt", "model.npz", "gaps.csv", "--how", "bias", "--save", "a.npz"]) == 0
    assert "Left out, without a value that is taken: 2 rows (3, 5)" in capsys.readouterr().out
    assert FDRMFLTransformer.load("a.npz").adapted_.n_rows == 13
    frame[:3].to_csv("few.csv", index=False)
    frame.drop(columns="fat").to_csv("bare.csv", index=False)
    frame.assign(fat=np.nan).to_csv("empty.csv", index=False)
    for arguments, says in (
        (["few.csv", "--how", "slope"], "takes 4"),
        (["empty.csv"], "empty.csv has no row to adapt to"),
        (["bare.csv"], "no column fat of measured values"),
        (["new.csv", "--save", "model.npz"], "is the file that is read"),
        (["new.csv", "--save", "b.txt"], "does not end in .npz"),
    ):
        save = [] if "--save" in arguments else ["--save", "b.npz"]
        assert cli.main(["adapt", "model.npz", *arguments, *save]) in (1, 2)
        assert says in capsys.readouterr().err
    assert not (tmp_path / "b.npz").exists()
