"""`skfdrmfl federation`, and what would leave a site: what is printed, written, refused, and with which status."""

import json

import numpy as np
import pandas as pd
import pytest

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.cli import main as cli
from skfdrmfl.cli import server
from skfdrmfl.clients.remote.audit import Audit
from skfdrmfl.clients.remote.channel import Loopback
from skfdrmfl.site.remote_fit import fit_over_channel
from skfdrmfl.site.site_data import site_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X[:, 0] + 0.1 * RNG.standard_normal(60)
SITES = np.repeat(["north", "south"], 30)
PARAMETERS = {"tuning": None, "n_rounds": 2, "local_epochs": 1, "random_state": 0}
OPTIONS = ["--tuning", "none", "--set", "n_rounds=2", "--set", "local_epochs=1"]


def sites_of(folder):
    return {
        label: site_of(
            FDRMFLTransformer(**PARAMETERS),
            lambda m=label == SITES: (X[m], Y[m]),
            label,
            [Audit(folder / f"{label}.jsonl", label)],
        )
        for label in ("north", "south")
    }


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with a model fitted over two sites, and their records."""
    folder = tmp_path_factory.mktemp("fitted")
    model = fit_over_channel(FDRMFLTransformer(**PARAMETERS), Loopback(sites_of(folder)))
    model.save(folder / "model.skfdrmfl")
    return folder


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(X, columns=[*"abcd"]).assign(fat=Y).to_csv("north.csv", index=False)


def test_a_card_is_written_beside_the_model_or_where_it_is_asked_for(fitted, tmp_path, capsys):
    model = str(fitted / "model.skfdrmfl")
    assert cli.main(["federation", "card", model]) == 0
    assert "<!DOCTYPE html>" in (fitted / "card.html").read_text(encoding="utf-8")
    outputs = ["--output", str(tmp_path / "new" / "a.json"), "--output", str(tmp_path / "new" / "a.html")]
    assert cli.main(["federation", "card", model, *outputs, "--title", "Meat"]) == 0
    card = json.loads((tmp_path / "new" / "a.json").read_text(encoding="utf-8"))
    assert card["title"] == "Meat" and [row["site"] for row in card["sites"]] == ["north", "south"]
    assert capsys.readouterr().out.count("Written: ") == 3


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["card", "nothing.skfdrmfl"], 1, "nothing.skfdrmfl is not there"),
        (["card", "{model}", "--output", "card.txt"], 2, "card.txt does not end in .html or .json; pass card.html"),
        (["card", "{folder}/north.jsonl"], 1, "is no skfdrmfl archive"),
        (["audit", "{model}", "nothing.jsonl"], 1, "nothing.jsonl cannot be read"),
        (["audit", "{model}", "{model}"], 1, "line 1 is none of a site's record"),
        (["describe"], 2, "says whom to wait for"),
        (["describe", "--sites", "a", "--output", "a.txt"], 2, "does not end in .csv or .json"),
        ([], 2, "the following arguments are required: COMMAND"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_status(fitted, tmp_path, monkeypatch, capsys, arguments, status, said):
    monkeypatch.chdir(tmp_path)
    places = {"model": fitted / "model.skfdrmfl", "folder": fitted}
    assert cli.main(["federation", *(text.format(**places) for text in arguments)]) == status
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_records_that_are_the_ledger_pass_and_others_fail_and_say_where(fitted, tmp_path, capsys):
    model, records = str(fitted / "model.skfdrmfl"), [str(fitted / f"{label}.jsonl") for label in ("north", "south")]
    assert cli.main(["federation", "audit", model, *records]) == 0
    assert "records of north, south: as in the ledger.\n" in capsys.readouterr().out
    assert cli.main(["federation", "audit", model, records[0]]) == 0
    assert "without those of south" in capsys.readouterr().out
    lines = (fitted / "south.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    cut = tmp_path / "south.jsonl"
    cut.write_text("".join(line for line in lines if '"sums of Z"' not in line), encoding="utf-8")
    assert cli.main(["federation", "audit", model, records[0], str(cut)]) == 1
    assert "round 2, sums of Z" in capsys.readouterr().err


def test_a_model_of_one_memory_has_no_records_to_be_held_against(fitted, tmp_path, capsys):
    path = str(tmp_path / "model")
    FDRMFLTransformer(**PARAMETERS).fit(X, Y, client_ids=SITES).save(path)
    assert cli.main(["federation", "audit", path, str(fitted / "north.jsonl")]) == 1
    assert "was not fitted to rows of sites" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_statistics_are_printed_and_written_before_anything_is_trained(tmp_path, monkeypatch, capsys, suffix):
    class Sites(Loopback):
        closed = False

        def gather(self, n_sites):
            assert n_sites == len(self.sites) == 2

        def close(self):
            self.closed = True

    sites = Sites(sites_of(tmp_path))
    monkeypatch.setattr(server, "channel_to_sites", lambda args, stack: sites)
    out = tmp_path / f"statistics.{suffix}"
    arguments = ["describe", "--sites", "north,south", *OPTIONS, "--output", str(out)]
    assert cli.main(["federation", *arguments]) == 0 and sites.closed
    printed = capsys.readouterr().out
    assert "north  30" in printed and "target" in printed
    if suffix == "csv":
        written = pd.read_csv(out)
        np.testing.assert_allclose(written["mean"], np.column_stack((X, Y)).mean(0), atol=1e-12)
    else:
        written = json.loads(out.read_text(encoding="utf-8"))
        assert [row["rows"] for row in written["sites"]] == [30, 30]
    record = (tmp_path / "north.jsonl").read_text(encoding="utf-8")
    assert '"sums of columns"' in record and '"parameters"' not in record


def test_sites_that_refuse_give_no_statistics_and_the_reason(tmp_path, monkeypatch, capsys):
    sites = Loopback(sites_of(tmp_path))
    sites.gather = lambda n_sites: None
    monkeypatch.setattr(server, "channel_to_sites", lambda args, stack: sites)
    assert cli.main(["federation", "describe", "--n-sites", "2", *OPTIONS, "--components", "3"]) == 1
    assert "n_components" in capsys.readouterr().err


def test_what_would_leave_is_printed_and_written_and_no_socket_is_made(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    arguments = ["site", "--label", "north", "--data", "north.csv", "--target", "fat", *OPTIONS]
    assert cli.main([*arguments, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "parameters" in printed and "0 of them of fewer than 10 rows" in printed and "Written" not in printed
    assert cli.main([*arguments, "--dry-run", "leaves.csv"]) == 0
    capsys.readouterr()
    written = pd.read_csv("leaves.csv")
    assert written["what"].tolist()[0] == "describe" and (written["what"] == "parameters").sum() == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leaves.csv", "north.csv"]


def test_what_a_policy_would_refuse_is_said_by_a_dry_run(table, tmp_path, capsys):
    (tmp_path / "policy.toml").write_text("fewest_rows = 100\n", encoding="utf-8")
    arguments = ["site", "--label", "north", "--data", "north.csv", "--target", "fat", *OPTIONS]
    assert cli.main([*arguments, "--policy", "policy.toml", "--dry-run"]) == 0
    assert "The fit would end here: describe is refused" in capsys.readouterr().out


def test_a_dry_run_needs_rows(capsys):
    assert cli.main(["site", "--label", "north", "--dry-run"]) == 2
    assert "has no rows to look at; name them by --data" in capsys.readouterr().err
