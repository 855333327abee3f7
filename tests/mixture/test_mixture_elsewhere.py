"""A mixture of rows that are elsewhere: that of one memory, in few exchanges that are counted before they are made."""

import re

import numpy as np
import pandas as pd
import pytest
from mixture_data import THREE, lacking, make, rows
from numpy.testing import assert_allclose, assert_array_equal
from wire import Processes, Stopping, Wire, wire_of

from skfdrmfl.clients.remote.codec import from_packet
from skfdrmfl.clients.remote.packet import Request
from skfdrmfl.fit import mixture as mixture_fit
from skfdrmfl.method.mixture import NetworkPart
from skfdrmfl.mixture import forecast, sums
from skfdrmfl.mixture.networks import recipes_of_rule
from skfdrmfl.protocol.door import NoAnswer
from skfdrmfl.protocol.queries import whitening
from skfdrmfl.site import remote_fit
from skfdrmfl.site.remote_fit import fit_over_channel

X, Y = rows(q=1)
IDS = np.array(["b", "a", "c"])[THREE]
TWO = {"modalities": {"nir": slice(0, 24), "lab": slice(24, 28)}}
ALL = 9  # networks: more than the rule has
MIXED = TWO | {"n_rounds": 15, "local_epochs": 2}  # networks and linear members have weight
HOLES = np.where(lacking()[:, np.repeat([0, 1], [24, 4])], X, np.nan)
FRAME = pd.DataFrame(X[:, 24:], columns=list("rstu")).assign(kind=pd.Categorical(np.where(X[:, 24] > 0, "up", "down")))
FEW = {"local_epochs": 1, "n_rounds": 3}
SLOW = pytest.mark.slow
MODELS = ("global models", "global models for rows held out")


def here(parameters, table=X, y=Y, ids=IDS):
    return make(**parameters).fit(table, y, client_ids=ids)


def there(parameters, table=X, y=Y, ids=IDS, *, networks=1, kind=Wire):
    estimator = make(**parameters)
    wire = wire_of(estimator, table, y, ids, kind=kind)
    return fit_over_channel(estimator, wire, networks=networks), wire


def is_mixture(model):
    return model.members_[0]["name"] == "mixture"


def names(model):
    return [row["name"] for row in model.members_[1:]]


def networks_of(model):
    return sorted(name for name in names(model) if name.startswith("network"))


def log_but_for_models(model):
    return [m for m in model.federation_log_ if m.what.removeprefix("mixture: ") not in MODELS]


def assert_the_same_mixture(a, b, table=X):
    assert is_mixture(a) and list(a.members_) == list(b.members_)
    for mine, theirs in zip(a._fitted.mixture.parts, b._fitted.mixture.parts, strict=True):
        if isinstance(mine, NetworkPart):
            assert mine.arrays.keys() == theirs.arrays.keys()
            assert all(np.array_equal(mine.arrays[name], theirs.arrays[name]) for name in mine.arrays)
            assert_array_equal(mine.share, theirs.share)
        else:
            assert_array_equal(mine.linear.coefficients, theirs.linear.coefficients)
    assert_array_equal(a.transform(table), b.transform(table))
    assert_array_equal(a.feature_importances_, b.feature_importances_)
    assert_array_equal(a._fitted.held_out.entries, b._fitted.held_out.entries)
    for mine, theirs in zip(a.domain(table).values(), b.domain(table).values(), strict=True):
        assert_array_equal(mine, theirs)
    assert log_but_for_models(a) == log_but_for_models(b)
    assert a.federation_log_.exchanges == b.federation_log_.exchanges > 0


# --------------------------------------------------------------------------------------------- the same fit


@pytest.mark.parametrize(
    ("parameters", "table", "y"),
    [
        pytest.param(
            MIXED | {"early_stopping": True},
            HOLES,
            np.hstack([Y, np.exp(Y)]),
            id="rows lack modalities, two outputs",
        ),
        pytest.param(FEW | {"algorithm": "scaffold"}, X, Y, id="scaffold", marks=SLOW),
        pytest.param(FEW | {"aggregation": "median"}, X, Y, id="a rule", marks=SLOW),
        pytest.param(FEW | {"participation": 0.5}, X, Y, id="participation", marks=SLOW),
        pytest.param(
            FEW | {"availability": lambda t, client: {1: "a", 3: "c"}.get(t) != client},
            X,
            Y,
            id="who joins, who leaves",
            marks=SLOW,
        ),
    ],
)
def test_rows_elsewhere_give_the_mixture_of_rows_here_to_the_bit(parameters, table, y):
    assert_the_same_mixture(here(parameters, table, y), there(parameters, table, y, networks=ALL)[0], table)


@SLOW
def test_categories_elsewhere_give_the_mixture_of_rows_here_but_for_rounding():
    # torch evaluates networks with categories, and the last bits of a row follow the number of rows beside it
    a, b = here(FEW | {"n_rounds": 1}, FRAME), there(FEW | {"n_rounds": 1}, FRAME, networks=ALL)[0]
    assert is_mixture(a) and [row["name"] for row in a.members_] == [row["name"] for row in b.members_]
    for key in ("weight", "error"):
        assert_allclose([row[key] for row in a.members_], [row[key] for row in b.members_], rtol=1e-9, atol=1e-12)
    assert_allclose(a.predict(FRAME), b.predict(FRAME), rtol=1e-9)
    assert log_but_for_models(a) == log_but_for_models(b)


@pytest.mark.slow
def test_unless_more_is_asked_for_there_is_one_network_beside_the_linear_members(monkeypatch):
    model, _ = there(MIXED)
    assert networks_of(model) == ["network raw"]
    assert {row["view"] for row in model.members_[1:]} == {"raw", "snv", "sg1", "sg2", "snv+sg1"}
    monkeypatch.setattr(mixture_fit, "recipes_of_rule", lambda *args, **wide: recipes_of_rule(*args, **wide)[:1])
    monkeypatch.setattr(mixture_fit.MixturePlanner, "_drift", lambda self, one: 0.0)
    one = here(MIXED)
    assert list(one.members_) == list(model.members_)
    assert_array_equal(one.transform(X), model.transform(X))


@pytest.mark.slow
def test_more_networks_are_those_of_the_rule_in_its_order():
    rule = ["network raw", "network snv", "network of residuals"]
    for n in (2, 3):
        model, wire = there(FEW | TWO, networks=n)
        assert set(networks_of(model)) <= set(rule[:n]) and set(rule[:2]) <= set(networks_of(model))
        shapes = {r.needs[1] for _, r, *_ in wire.asked if r.what == "train"}
        assert len(shapes) == n - 1 or "network of residuals" not in networks_of(model)


@pytest.mark.slow
def test_members_and_folds_train_in_the_same_rounds():
    for networks, n_runs in ((1, 4), (2, 8)):
        _, wire = there(FEW | TWO, networks=networks)
        asked = [(r.position, from_packet(r.about)) for _, r, *_ in wire.asked if r.what == "train"]
        assert sorted((p, about["round"]) for p, about in asked) == [(p, t) for p in range(3) for t in range(3)]
        assert {tuple(about["runs"]) for _, about in asked} == {tuple(range(n_runs))}


@pytest.mark.slow
def test_four_exchanges_of_sums_come_before_the_rounds_and_two_after_and_six_look_for_suspects():
    for parameters, n_more in ((FEW, 6), (FEW | TWO, 7), (FEW | {"suspects": "ignore"}, 0)):  # who has which modality
        _, wire = there(parameters)
        asked = [r.what for _, r, *_ in wire.asked if r.position == 0 and r.what != "describe"]
        assert asked == [*["sum"] * (4 + n_more), "prepare", *["train"] * 3, *["sum"] * 2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Processes], ids=["processes"])
def test_sites_that_keep_nothing_but_packets_give_the_same(kind):
    assert_the_same_mixture(there(FEW | TWO)[0], there(FEW | TWO, kind=kind)[0])


@pytest.mark.slow
def test_a_site_that_has_lost_everything_is_told_again():
    class Forgetful(Wire):
        def answer(self, address, packet):
            if len(self.asked) % 5 == 3:
                self.kept[address] = {}
            return super().answer(address, packet)

    model, wire = there(FEW | TWO, kind=Forgetful)
    assert sum(came < 200 for _, r, _, came in wire.asked if r.what == "train") > 1  # "lost"
    assert_the_same_mixture(there(FEW | TWO)[0], model)


def test_a_checkpoint_is_of_so_many_networks(tmp_path):
    kept = FEW | {"n_rounds": 1, "suspects": "ignore", "checkpoint_path": str(tmp_path / "checkpoint")}
    there(kept, X[:, :3])
    with pytest.raises(ValueError, match="networks is 2 but was 1"):
        there(kept, X[:, :3], networks=2)


@pytest.mark.slow
def test_a_fit_that_was_stopped_goes_on_from_its_checkpoint(tmp_path):
    parameters = TWO | {"n_rounds": 5}
    kept = parameters | {"checkpoint_path": str(tmp_path / "checkpoint"), "checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        there(kept, kind=Stopping)
    model, wire = there(kept)
    assert sorted({from_packet(r.about)["round"] for _, r, *_ in wire.asked if r.what == "train"}) == [3, 4]
    again = there(parameters)[0]
    assert list(again.members_) == list(model.members_)
    assert_array_equal(again.transform(X), model.transform(X))


@pytest.mark.slow
def test_a_mixture_fitted_elsewhere_is_saved_and_loaded(tmp_path):
    model, _ = there(MIXED)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    assert any(isinstance(part, NetworkPart) for part in again._fitted.mixture.parts)
    assert_array_equal(again.transform(X), model.transform(X))
    assert again.federation_log_.exchanges == model.federation_log_.exchanges


# ----------------------------------------------------------------------------------- what it takes, beforehand


@pytest.fixture
def forecasts(monkeypatch):
    """What fits say that they will take, as they say it."""
    found, fit = [], remote_fit.train_and_keep

    def before(estimator, fitting, task):
        found.append(fitting.forecast())
        fit(estimator, fitting, task)

    monkeypatch.setattr(remote_fit, "train_and_keep", before)
    return found


class Counting(Wire):
    """Counts how often somebody is asked, but for numbers of rows."""

    n_exchanges = 0

    def ask(self, packets):
        what = Request.of_packet(next(iter(packets.values()))).what
        self.n_exchanges += what not in ("describe", "prepare", "count")
        return super().ask(packets)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("parameters", "networks"),
    [
        pytest.param(TWO, 2, id="two of one shape"),
        pytest.param(MIXED, ALL, id="all", marks=SLOW),
        pytest.param({"algorithm": "fedsgd"}, 1, id="fedsgd", marks=SLOW),
        pytest.param({"algorithm": "scaffold", "participation": 0.5, "n_rounds": 6}, 1, id="scaffold, participation"),
        pytest.param(
            {"participation": 0.5, "contrastive_weight": 0.0}, 1, id="models of before are not needed", marks=SLOW
        ),
        pytest.param(
            {"early_stopping": True, "n_iter_no_change": 99, "aggregation": "median"}, 1, id="early stopping, a rule"
        ),
        pytest.param({"availability": lambda t, client: t > 2 or client != "a", "n_rounds": 5}, 1, id="availability"),
    ],
)
def test_what_was_said_beforehand_is_what_happened_to_the_message(forecasts, parameters, networks):
    model, wire = there(FEW | parameters, networks=networks, kind=Counting)
    (said,), log = forecasts, model.federation_log_
    assert is_mixture(model)
    assert list(said) == list(log) and said.by_client() == log.by_client()
    assert said.exchanges == log.exchanges == wire.n_exchanges


def test_who_is_left_out_of_the_sums_is_left_out_of_what_is_said(forecasts):
    y = np.where(IDS == "c", 1e4, 1.0) * Y[:, 0]
    with pytest.warns(UserWarning, match="'c' is left out of the sums"):
        model, _ = there(FEW | {"aggregation": "median", "min_clients": 1}, X, y)
    (said,) = forecasts
    assert is_mixture(model) and list(said) == list(model.federation_log_)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [3, pytest.param(12, marks=SLOW)], ids=["few directions hold it", "it is sparse"])
def test_a_table_too_wide_for_moments_is_fitted_elsewhere_as_it_was_said(forecasts, monkeypatch, rank):
    for module in (whitening, sums, mixture_fit, forecast):
        monkeypatch.setattr(module, "MAX_EXACT_COLUMNS", 10)
    monkeypatch.setattr(whitening, "RANGE_DIMENSIONS", 5)
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((60, rank)) @ rng.standard_normal((rank, 12))
    model, _ = there(FEW, wide)
    assert networks_of(model) == ["network raw" if rank == 3 else "network sparse"]
    (said,) = forecasts
    assert list(said) == list(model.federation_log_)
    assert_the_same_mixture(here(FEW, wide), there(FEW, wide, networks=ALL)[0], wide)


@pytest.mark.slow
def test_networks_of_residuals_that_are_not_worth_their_rounds_take_less_than_was_said(forecasts):
    x = np.random.default_rng(0).standard_normal((60, 4))
    y = np.sin(3 * x[:, 0]) * np.sign(x[:, 1])
    model, _ = there({"n_rounds": 40, "local_epochs": 5}, x, y, networks=ALL)
    (said,) = forecasts
    took = model.federation_log_
    assert ("network of residuals" in names(model)) == (list(said) == list(took))
    assert said.exchanges >= took.exchanges and (said.sent >= took.sent).all()


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "table",
    [
        pytest.param(X, id="a table"),
        pytest.param(X[:, :24], id="spectra"),
        pytest.param(FRAME, id="categories", marks=SLOW),
    ],
)
def test_what_is_shown_before_anything_is_asked_is_the_most_and_what_is_shown_then_is_what_happens(table, capsys):
    model, wire = there(FEW, table)
    log = model.federation_log_
    first, then = capsys.readouterr().out.splitlines()
    before = sum(m.bytes // m.clients for m in log if m.round == 0 and m.direction == "up")
    (most,) = map(float, re.findall(r"sends ([\d.]+) MB at most", first))
    assert most >= before / 1e6 - 0.005
    if table is not X:  # of columns that may be smooth and are not, SNV has no products
        assert most <= 1.2 * before / 1e6 + 0.01
    exchanges, sent, n_done, done, received = map(float, re.findall(r"[\d.]+", then))
    assert exchanges == log.exchanges and n_done == (12 if table is FRAME else 10)  # labels, who has which modality
    for shown, n_bytes in ((sent, max(log.sent)), (done, before)):
        assert abs(shown - n_bytes / 1e6) <= 0.005
    label_of = {address: site._rows.label for address, site in wire.sites.items()}
    went = [went for address, _, went, _ in wire.asked if label_of[address] == "a"]
    # But for half a kilobyte a message, and for a network that turns out to have no weight.
    assert sum(went) / 1e6 - 0.001 * len(went) < received < 1.2 * sum(went) / 1e6


def test_no_more_crosses_upwards_than_is_counted_and_half_a_kilobyte_a_message():
    model, wire = there(TWO | FEW)
    label_of = {address: site._rows.label for address, site in wire.sites.items()}
    for row in model.federation_log_.by_client():
        came = [
            came for address, r, _, came in wire.asked if label_of[address] == row["client"] and r.what != "describe"
        ]
        assert row["sent"] < sum(came) < row["sent"] + 700 * len(came)


def test_a_fit_of_one_network_says_nothing_beforehand(capsys):
    there({"tuning": None, **FEW})
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_no_row_is_in_what_goes_down():
    _, wire = there(FEW | TWO, networks=ALL)
    parts = {row.astype(dtype).tobytes() for row in X for dtype in (np.float64, np.float32)}
    for _, request, *_ in wire.asked:
        for packet in (request.about, *request.given.values()):
            assert not any(part in array.tobytes() for array in packet.arrays for part in parts)


# ------------------------------------------------------------------------------------------ what can go wrong


@pytest.mark.slow
def test_clients_of_few_rows_have_the_network_alone_here_and_there():
    ids = np.arange(60) // 5
    for model in (here(FEW, ids=ids), there(FEW, ids=ids)[0]):
        assert model.members_.note == "the network alone: clients of fewer than 6 rows hold most rows"


def test_with_privacy_the_network_is_alone():
    private = {"preprocessing": "standardize", "dp_clip_norm": 1.0, "dp_bounds": {"X": (-9, 9), "y": (-9, 9)}}
    model, _ = there(FEW | private)
    assert model.members_.note.startswith("the network alone: with privacy")


def test_where_no_row_can_be_held_out_the_network_is_alone():
    model, _ = there(FEW, np.ones((60, 3)), np.ones(60), np.repeat("a", 60))
    assert "none can be held out" in model.members_.note


def test_who_is_there_in_the_end_has_to_hold_out_rows():
    ids = np.array(["a", "b", "c"] * 19 + ["a", "b", "one"])  # whose row is in the fourth of five folds
    model = here(FEW | {"availability": lambda t, client: (client == "one") == (t == 3)}, ids=ids)
    assert "those who are there in the last round hold out no rows" in model.members_.note


def test_who_leaves_after_training_does_not_lose_the_model():
    class Leaving(Wire):
        def answer(self, address, packet):
            request = Request.of_packet(packet)
            trained = sum(r.what == "train" for _, r, *_ in self.asked) >= 9
            return None if trained and request.position == 0 else super().answer(address, packet)

    model, _ = there(FEW, kind=Leaving)
    assert is_mixture(model)
    assert model.dropped_clients_ == [{"client": "a", "reason": "no answer", "rounds": []}]
    left = IDS != "a"
    prediction, unit = model.predict(X), Y.std()
    assert abs(np.mean(prediction[left] - Y[left, 0])) < unit
    # Z is centred over the rows of those who have stayed.
    assert np.abs(model.transform(X[left]).mean(0)).max() < 1e-7


def test_who_misses_a_round_is_named_and_the_mixture_is_fitted():
    class Without(Wire):
        def answer(self, address, packet):
            request = Request.of_packet(packet)
            silent = request.what == "train" and from_packet(request.about)["round"] == 1 and request.position == 0
            return None if silent else super().answer(address, packet)

    model, _ = there(FEW, kind=Without)
    assert is_mixture(model) and networks_of(model) == ["network raw"]
    assert model.dropped_clients_ == [{"client": "a", "reason": "no answer", "rounds": [2]}]


def test_nobody_who_holds_out_rows_in_the_end_is_an_error_that_says_so():
    class Leaving(Wire):
        def answer(self, address, packet):
            request = Request.of_packet(packet)
            trained = sum(r.what == "train" for _, r, *_ in self.asked) >= 12
            return None if trained and request.position < 3 else super().answer(address, packet)

    ids = np.array(["a", "b", "c"] * 19 + ["a", "b", "one"])
    with pytest.raises(NoAnswer, match="holds out rows"):
        there(FEW, ids=ids, kind=Leaving)


def test_networks_are_one_at_least():
    with pytest.raises(ValueError, match="networks is 0"):
        there(FEW, networks=0)
