"""What is on the screen: what `verbose` prints is what `history_` says, bars, and links that lead somewhere."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from skfdrmfl import FDRMFLTransformer, IgnoreClients
from skfdrmfl.common import progress
from skfdrmfl.common.progress import Bar, told_to
from skfdrmfl.estimator import _html as _representation

rng = np.random.default_rng(0)
X = rng.standard_normal((80, 4))
IDS = np.repeat(["large", "small"], [70, 10])
Y = np.where(IDS == "large", X[:, 0], 3.0 * rng.standard_normal(80))  # the small client errs much more


@pytest.mark.parametrize(
    "options",
    [{}, {"participation": 0.5}, {"early_stopping": True, "n_iter_no_change": 2, "learning_rate": 0.3}],
    ids=["all", "half", "stopped"],
)
def test_the_numbers_printed_are_the_historys_means_by_rows(options, capsys):
    model = FDRMFLTransformer(n_rounds=6, local_epochs=1, random_state=0, verbose=2, tuning=None, **options).fit(
        X, Y, IDS
    )
    out, bar = capsys.readouterr()
    assert bar == ""
    printed = re.findall(r"round (\d+)/6, loss (\S+), mse (\S+)", out)
    history = model.history_
    expected = [
        (str(t + 1), f"{history['loss'][t]:.4g}", f"{history['mse'][t]:.4g}") for t in range(len(history["loss"]))
    ]
    assert printed == expected
    rows = np.array([63.0, 9.0]) if "early_stopping" in options else np.array([70.0, 10.0])
    for t, (_, loss, mse) in enumerate(printed):
        for name, value in (("loss", loss), ("mse", mse)):
            of_clients = history[f"{name}_per_client"][t]
            took_part = ~np.isnan(of_clients)
            mean = (rows[took_part] * of_clients[took_part]).sum() / rows[took_part].sum()
            assert float(value) == pytest.approx(mean, rel=1e-3)
            if took_part.all():  # the mean over clients is another number
                assert abs(of_clients.mean() - mean) > 0.1 * abs(mean)


def test_partial_fit_prints_its_one_round_of_the_clients_who_are_there(capsys):
    model = FDRMFLTransformer(random_state=0, verbose=1, tuning=None).partial_fit(X, Y, IDS)
    small = IDS == "small"
    model.partial_fit(X[small], Y[small], IDS[small])
    printed = re.findall(r"round 1/1, loss (\S+), mse (\S+)", capsys.readouterr().out)
    history = model.history_
    assert printed == [(f"{loss:.4g}", f"{mse:.4g}") for loss, mse in zip(history["loss"], history["mse"], strict=True)]
    assert history["mse"][1] == history["mse_per_client"][1, 1]


def test_a_bar_and_the_lines_in_its_place_say_how_far_it_is(capsys, monkeypatch):
    for installed in (True, False):
        if not installed:
            monkeypatch.setitem(sys.modules, "tqdm.auto", None)
        bar = Bar("work", 40, "step")
        for done in range(1, 41):
            bar.reach(done, f"mse {done}")
        bar.close()
        out, shown = capsys.readouterr()
        assert out == "" and "work" in shown and "40/40" in shown and "mse 40" in shown
    assert len(shown.splitlines()) == 10
    Bar("work", 40, "step", shown=False).reach(40)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_without_tqdm_one_line_is_written_anew(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    now = iter(np.arange(0.0, 100.0, 0.3))
    monkeypatch.setattr(progress.time, "monotonic", lambda: 1.0 + next(now))
    bar = Bar("work", 2, "step")
    for stage in ("a", "b", "c", "d"):
        bar.reach(0, stage)
    bar.reach(2, "end")
    bar.close()
    lines = [line.strip() for line in capsys.readouterr().err.split("\r")]
    assert lines == ["", "work: 0/2 steps, a", "work: 0/2 steps, c", "work: 2/2 steps, end"]


@pytest.mark.parametrize("tuning", [None, "mixture"])
def test_a_fit_tells_whoever_listens_what_it_is_at(tuning):
    heard = []
    model = FDRMFLTransformer(n_rounds=2, random_state=0, tuning=tuning)
    with told_to(heard.append):
        told = model.fit(X, Y, IDS).predict(X)
    rounds = [stage for stage in heard if stage.startswith("round ")]
    assert len(set(rounds)) == len(rounds) > 0
    assert tuning is not None or rounds[-1] == "round 2 of 2"
    assert "sums of client 1" in heard and "sums of client 2" in heard
    assert ("PLS" in heard) == (tuning is not None)
    n_heard = len(heard)
    np.testing.assert_array_equal(model.fit(X, Y, IDS).predict(X), told)
    assert len(heard) == n_heard  # nobody listens any more


def links(estimator):
    """Where the documentation links of an estimator's diagram lead."""
    return re.findall(r'sk-estimator-doc-link[^>]*href="([^"]*)"', estimator._repr_html_())


def test_the_diagram_links_to_a_page_that_is_there(tmp_path, monkeypatch):
    model = FDRMFLTransformer(tuning=None)
    monkeypatch.setattr(_representation, "_published", lambda: None)
    monkeypatch.setattr(_representation, "BUILT", tmp_path)
    (link,) = links(model)
    assert link.startswith("file://") and "class FDRMFLTransformer" in Path(link[7:]).read_text(encoding="utf-8")
    page = tmp_path / "api" / "skfdrmfl.FDRMFLTransformer.html"
    page.parent.mkdir()
    page.write_text("the page", encoding="utf-8")
    assert links(model) == [page.as_uri()]
    assert page.as_uri() in links(make_pipeline(IgnoreClients(model), model))
    monkeypatch.setattr(_representation, "_published", lambda: "https://docs.example/")
    assert links(model)[0] == "https://docs.example/api/skfdrmfl.FDRMFLTransformer.html"


def test_a_class_of_somebody_else_has_no_link_of_ours():
    class Theirs(FDRMFLTransformer):
        pass

    assert links(Theirs(tuning=None)) == []
