"""The card of a federation: what the model holds, said on one page, and nothing that it does not hold."""

import json
from dataclasses import fields, replace
from html.parser import HTMLParser

import numpy as np
import pytest

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.policy import SitePolicy
from skfdrmfl.clients.remote.channel import Loopback
from skfdrmfl.common.archive import read, write
from skfdrmfl.fit import privacy_parameters
from skfdrmfl.fit.result import Fitted
from skfdrmfl.fit.saving import KIND
from skfdrmfl.inspection import FederationCard
from skfdrmfl.method.domain import counted
from skfdrmfl.method.intervals import ERROR_EDGES, HeldOutCounts
from skfdrmfl.site.remote_fit import fit_over_channel
from skfdrmfl.site.site_data import site_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X @ [1.0, 2.0, 0.0, -1.0]
IDS = np.array(["north", "<b>south</b>"])[(np.arange(60) % 3 > 0).astype(int)]
PRIVATE = {
    "preprocessing": "standardize",
    "dp_noise_multiplier": 1.0,
    "dp_clip_norm": 0.1,
    "dp_bounds": {"X": (-4, 4), "y": (-9, 9)},
}


def fitted(**parameters):
    settings = {"tuning": None, "n_rounds": 2, "random_state": 0}
    return FDRMFLTransformer(**(settings | parameters)).fit(X, Y, client_ids=IDS)


@pytest.fixture(scope="module")
def model():
    return fitted()


class Tags(HTMLParser):
    """Start tags with their attributes, those left open, and all text."""

    VOID = ("meta", "br", "img")

    def __init__(self, page):
        super().__init__()
        self.seen, self.open, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_sites_stand_there_as_they_call_themselves_with_their_rows_and_bytes(model):
    card = FederationCard.from_estimator(model).to_dict()
    sent = {label: 0 for label in ("north", "<b>south</b>")}
    for row in model.federation_log_.by_client():
        sent[row["client"]] = row["sent"]
    assert {row["site"]: (row["rows"], row["sent"]) for row in card["sites"]} == {
        "north": (20, sent["north"]),
        "<b>south</b>": (40, sent["<b>south</b>"]),
    }


def test_totals_of_the_ledger_are_those_of_its_messages(model):
    by_kind = FederationCard.from_estimator(model).to_dict()["ledger"]["by_kind"]
    for direction in ("up", "down"):
        of_messages = sum(m.bytes for m in model.federation_log_ if m.direction == direction)
        assert sum(row["bytes"] for row in by_kind if row["direction"] == direction) == of_messages > 0


def test_the_error_of_a_site_is_the_median_of_its_rows_held_out(model):
    errors = {0: RNG.exponential(size=31), 1: 3 * RNG.exponential(size=11)}
    entries = [
        (site, 0, place, n)
        for site, of_site in errors.items()
        for place, n in enumerate(counted(of_site[:, None], ERROR_EDGES)[0])
        if n
    ]
    held_out = HeldOutCounts(np.array(entries, dtype=np.int64), 1)
    other = fitted()
    other._fitted = replace(model._fitted, held_out=held_out)
    for site, row in enumerate(FederationCard.from_estimator(other).to_dict()["sites"]):
        assert row["rows_held_out"] == len(errors[site])
        assert row["error"] == pytest.approx([np.median(errors[site]) * Y.std()], rel=0.026)


def test_a_page_stands_by_itself_and_labels_are_text_in_it(model):
    page = FederationCard.from_estimator(model, title="Two <sites>").to_html()
    tags = Tags(page)
    assert tags.open == [] and {"script", "link", "img", "iframe", "b"}.isdisjoint(tag for tag, _ in tags.seen)
    assert "http" not in page and "url(" not in page and "@import" not in page
    assert ("html", {"lang": "en"}) in tags.seen and [tag for tag, _ in tags.seen].count("h1") == 1
    assert all(attrs.get("scope") == "col" for tag, attrs in tags.seen if tag == "th")
    assert "<b>south</b>" in tags.text and "Two <sites>" in tags.text
    for text in FederationCard.from_estimator(model).to_dict()["meanings"].values():
        assert text in tags.text


def test_with_privacy_the_bill_is_there_and_what_is_not_recorded_is_not(monkeypatch):
    pytest.importorskip("dp_accounting")
    monkeypatch.setattr(
        privacy_parameters, "epsilon", lambda bill, delta: len(bill) + delta
    )  # working it out takes 10 s
    model = fitted(**PRIVATE)
    content = FederationCard.from_estimator(model).to_dict()
    assert content["privacy"]["delta"] == pytest.approx(2**-1.1)
    assert content["privacy"]["epsilon"] == pytest.approx(2 + 2**-1.1)
    assert content["privacy"]["bill"] == model.privacy_bill_
    for row in content["sites"]:
        assert row == row | {"rows": None, "sent": None, "received": None, "error": None}
    assert "north" not in json.dumps(content)
    assert "epsilon 2.47 at delta 0.47" in FederationCard.from_estimator(model).to_html()


@pytest.mark.parametrize("private", [False, True])
def test_hashes_of_policies_are_those_that_sites_answered_under_and_with_privacy_nobody_is_named(private):
    policies = {"north": SitePolicy(), "south": SitePolicy(fewest_rows=5), "west": None}
    of_both = {"tuning": None, "n_rounds": 2, "random_state": 0} | (PRIVATE if private else {})
    sites = {
        label: site_of(FDRMFLTransformer(**of_both), lambda i=i: (X[i::3], Y[i::3]), label, policy=policy)
        for i, (label, policy) in enumerate(policies.items())
    }
    found = fit_over_channel(FDRMFLTransformer(**of_both), Loopback(sites))._fitted.policies
    assert found == ({} if private else {"north": SitePolicy().digest, "south": SitePolicy(fewest_rows=5).digest})


def test_without_privacy_nothing_is_promised(model):
    card = FederationCard.from_estimator(model)
    assert card.to_dict()["privacy"] == {"epsilon": None, "delta": None, "bill": []}
    assert "No differential privacy" in card.to_html()


def test_a_saved_model_has_the_same_card_and_one_of_before_says_what_it_does_not_know(model, tmp_path):
    path = tmp_path / "model"
    model.save(path)
    now = FederationCard.from_estimator(FDRMFLTransformer.load(path)).to_dict()
    assert now == FederationCard.from_estimator(model).to_dict()
    content = read(path, kind=KIND)
    for name in ("versions", "policies"):
        assert name in [field.name for field in fields(Fitted)]
        del content["fitted"][name]
    write(path, content, kind=KIND)
    old = FederationCard.from_estimator(FDRMFLTransformer.load(path)).to_dict()
    assert old == now | {"versions": {"skfdrmfl": now["versions"]["skfdrmfl"]}}


def test_a_card_is_written_as_its_name_says(model, tmp_path):
    card = FederationCard.from_estimator(model)
    for name, text in (("card.html", card.to_html()), ("card.json", card.to_json())):
        card.save(tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == text
    with pytest.raises(ValueError, match=r"let it end in \.html or \.json"):
        card.save(tmp_path / "card.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.html", "card.json"]
