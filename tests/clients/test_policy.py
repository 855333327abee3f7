"""What a site's policy says is what leaves, whatever a server asks and says of itself."""

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from wire import Processes, Wire, fit_over, rows_of

from skfdrmfl import FDRMFLTransformer, SitePolicy
from skfdrmfl.clients.policy import COUNTED, QUERIES
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Request
from skfdrmfl.data.held_out import EVERYTHING, Fold, Split
from skfdrmfl.data.transforms import TableTransform, scaled
from skfdrmfl.fit.parameters import FREE
from skfdrmfl.protocol.door import Block, NoAnswer
from skfdrmfl.protocol.plan import Inputs, Targets
from skfdrmfl.protocol.queries.labels import Presence
from skfdrmfl.protocol.queries.members import FoldMoments
from skfdrmfl.protocol.queries.whitening import ColumnSums
from skfdrmfl.server.privacy.accountant import Expense, epsilon
from skfdrmfl.site.site_data import site_of
from skfdrmfl.site.site_terms import agreed_parameters

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X[:, 0] + 0.1 * RNG.standard_normal(60)
LABELS = np.array(["a", "b", "c"])[np.arange(60) % 3]
PRIVATE = {
    **dict(dp_noise_multiplier=2.0, dp_clip_norm=0.1, dp_bounds={"X": (-4, 4), "y": (-4, 4)}),
    **dict(preprocessing="standardize", participation=1.0),
}


def estimator(**parameters):
    return FDRMFLTransformer(**({"tuning": None, "n_rounds": 2, "local_epochs": 1, "random_state": 0} | parameters))


def wire_of(policy, parameters, table=X, kind=Wire):
    """Three sites, of which "a" has the policy."""
    return kind(
        {
            label: site_of(
                estimator(**parameters),
                rows_of(table, Y, label == LABELS),
                label,
                policy=policy if label == "a" else None,
            )
            for label in "abc"
        }
    )


def fit(policy, parameters=None, table=X, kind=Wire):
    wire = wire_of(policy, parameters or {}, table, kind)
    return fit_over(wire, estimator(**parameters or {})), wire


# ------------------------------------------------------------------------------------------------ the object


def test_entries_that_make_no_sense_are_refused_with_the_name_the_value_and_the_remedy():
    for entries, said in (
        ({"fewest_rows": 0}, "fewest_rows is 0; set a finite number above 0"),
        ({"fewest_rows": "10"}, "fewest_rows is '10'; set a whole number"),
        ({"fewest_rows": True}, "fewest_rows is True; set a whole number"),
        ({"queries": ["sums"]}, "queries has 'sums', which there is not; choose among"),
        ({"queries": "parameters"}, "queries is 'parameters'; set a list"),
        ({"algorithms": ["fedfoo"]}, "algorithms has 'fedfoo'"),
        ({"tuning": "no"}, "tuning is 'no'; set true or false"),
        ({"noise_multiplier": -1.0}, "noise_multiplier is -1.0"),
        ({"epsilon": 1.0, "noise_multiplier": 1.0}, "delta is not set"),
        ({"epsilon": 1.0, "delta": 1e-3}, "set the least noise_multiplier"),
        ({"epsilon": 1.0, "delta": 2.0, "noise_multiplier": 1.0}, "delta is 2.0; set a probability"),
        ({"rounds": 3}, "rounds is 3, but no file counts; set state"),
        ({"bounds": {"X": (1, -1), "y": (0, 1)}}, "bounds is .*; set"),
        ({"bounds": {"X": (-1, 1)}}, "bounds is .*; set"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            SitePolicy(**entries)


def test_a_file_says_what_the_object_says_and_mistakes_name_the_file(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('fewest_rows = 5\nqueries = ["parameters"]\nbounds = {X = [-4, 4], y = [0, 40]}\nrounds = 60\n')
    state = str(tmp_path / "policy.toml.state.json")
    said = SitePolicy(
        fewest_rows=5, queries=("parameters",), bounds={"X": [-4, 4], "y": [0, 40]}, rounds=60, state=state
    )
    assert SitePolicy.from_toml(path) == said and SitePolicy.from_toml(path).digest == said.digest
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as some editors begin a file
    assert SitePolicy.from_toml(path) == said
    for text, fact in (
        ("fewest_row = 5", "fewest_row is no entry of a policy; the entries are fewest_rows"),
        ("fewest_rows = 'x'", "fewest_rows is 'x'"),
        ("fewest_rows: 5", "is no TOML"),
    ):
        path.write_text(text)
        with pytest.raises((TypeError, ValueError), match=re.escape(str(path)) + ".*" + fact):
            SitePolicy.from_toml(path)


def test_every_entry_changes_the_digest_but_where_is_counted(tmp_path):
    other = {
        **dict(fewest_rows=5, queries=("parameters",), names=False, tuning=False, early_stopping=False),
        **dict(algorithms=("fedavg",), aggregations=("mean",), noise_multiplier=1.0, clip_norm=1.0),
        **dict(bounds={"X": (-1, 1), "y": (-1, 1)}, epsilon=1.0, delta=1e-3, runs=1, rounds=1, messages=1, bytes=1),
    }
    assert set(other) | {"state"} == {f.name for f in fields(SitePolicy)}
    more = {"epsilon": {"delta": 1e-3, "noise_multiplier": 1.0}, "delta": {"epsilon": 1.0, "noise_multiplier": 1.0}}
    found = {
        SitePolicy(
            **{name: value} | more.get(name, {}) | ({"state": "s"} if name in COUNTED or more.get(name) else {})
        ).digest
        for name, value in other.items()
    }
    assert len(found | {SitePolicy().digest}) == len(other)  # epsilon and delta come together
    assert SitePolicy(state="a").digest == SitePolicy(state="b").digest


def test_what_may_leave_is_named_as_on_the_page_on_privacy():
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([^`]+)` \|(?:[^|]+\|){4}$", page, re.MULTILINE)) == sorted(QUERIES)


def test_the_guide_shows_every_entry_and_its_default():
    page = (Path(__file__).parents[2] / "docs" / "run_a_site.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(fewest_rows.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert SitePolicy(**tomllib.loads(block)) == SitePolicy()
    entries = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", block, flags=re.MULTILINE))
    assert set(entries) == {f.name for f in fields(SitePolicy)}
    assert all(getattr(SitePolicy(**entries), name) is not None for name in entries)
    free = page[page.index("### Free parameters") :]
    table = re.findall(r"^\| (`.*?) \|", free[: free.index("##", 5)], re.MULTILINE)
    assert {name for row in table for name in re.findall("`([a-z_]+)`", row)} == set(FREE)


def test_a_site_with_a_policy_drops_no_rows_as_the_difference_of_two_sums_would_be_such_a_row():
    with pytest.raises(ValueError, match="sums before and after rows are dropped differ by these rows alone"):
        wire_of(SitePolicy(), {"suspects": "drop"})
    wire_of(SitePolicy(), {"suspects": "warn"})


# ------------------------------------------------------------------------------------------------ what leaves


MODALITIES = {"modalities": {"u": [0, 1], "v": [2, 3]}}
HOLES = np.where((LABELS == "a")[:, None] & (np.arange(60) > 30)[:, None] & (np.arange(4) >= 2), np.nan, X)


@pytest.mark.parametrize(
    ("entries", "parameters", "table", "said"),
    [
        ({"fewest_rows": 21}, {}, X, "'a description' would be of fewer than 21 rows"),
        ({"fewest_rows": 5}, {"tuning": "mixture"}, X, "'products by fold' would be of fewer than 5 rows"),
        ({"fewest_rows": 5}, {"early_stopping": True}, X, "would be of fewer than 5 rows"),
        ({"fewest_rows": 12}, MODALITIES, HOLES, "'a description' would be of fewer than 12 rows"),
        ({"fewest_rows": 10}, MODALITIES, HOLES, "'a description' would be of fewer than 10 rows"),  # 9 lack "v"
        ({"queries": ["sums of columns"]}, {}, X, "'absolute deviations' is not among queries"),
        ({"tuning": False}, {"tuning": "mixture"}, X, "tuning is false"),
        ({"early_stopping": False}, {"early_stopping": True}, X, "early_stopping is false"),
        ({"algorithms": ["fedavg"]}, {"algorithm": "fedadam"}, X, "algorithm is 'fedadam' in the server's plan"),
        ({"aggregations": ["mean"]}, {"aggregation": "median"}, X, "aggregation is 'median' in the server's plan"),
        ({"aggregations": ["mean"]}, {"preaggregation": "lengths"}, X, "preaggregation is 'lengths'"),
        ({"noise_multiplier": 1.0}, {}, X, "'sums of columns' leaves without noise"),
        ({"clip_norm": 1.0}, {}, X, "'sums of columns' leaves without noise"),
        ({"noise_multiplier": 3.0}, PRIVATE, X, "noise_multiplier of the site's policy is 3.0 but 2.0 in the server's"),
        ({"clip_norm": 0.01}, PRIVATE, X, "clip_norm of the site's policy is 0.01 but 0.1 in the server's plan"),
        (
            {"noise_multiplier": 1.0, "bounds": {"X": (-3, 4), "y": (-4, 4)}},
            PRIVATE,
            X,
            "of X that come are wider",
        ),
        (
            {"noise_multiplier": 1.0, "bounds": {"X": (-4, 4), "y": (-4, 3)}},
            PRIVATE,
            X,
            "of y that come are wider",
        ),
        ({"rounds": 1}, {}, X, "more rounds are asked for than the 1"),
        ({"messages": 4}, {}, X, "more messages are asked for than the 4"),
        ({"bytes": 3000}, {}, X, "more bytes are asked for than the 3000"),
    ],
    ids=lambda value: "" if isinstance(value, (np.ndarray, str)) else "+".join(map(str, value)),
)
@pytest.mark.filterwarnings("ignore:.*")
def test_what_a_policy_does_not_give_ends_the_run_and_names_the_site_and_the_entry(
    entries, parameters, table, said, tmp_path
):
    if parameters is PRIVATE:
        pytest.importorskip("dp_accounting")
    policy = SitePolicy(**{"fewest_rows": 1} | entries, state=tmp_path / "state.json")
    wire = wire_of(policy, parameters, table)
    with pytest.raises(NoAnswer, match=rf"'(at )?a': refused .*{re.escape(said)}"):
        fit_over(wire, estimator(**parameters))
    # The last answer of the site is the refusal: nothing of its rows is in it.
    last = [n_bytes for address, _, _, n_bytes in wire.asked if address == "a"][-1]
    assert last < 500
    # and no earlier answer was more than the policy gives
    if "queries" in entries:
        assert {r.what for address, r, *_ in wire.asked if address == "a"} == {"describe", "sum"}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("entries", "parameters", "kind"),
    [
        ({"fewest_rows": 20}, {}, Wire),
        ({"fewest_rows": 4}, {"tuning": "mixture"}, Processes),
        ({"fewest_rows": 10}, MODALITIES, Wire),
        ({"algorithms": ["fedavg"], "aggregations": ["mean"], "tuning": False, "early_stopping": False}, {}, Wire),
        ({"noise_multiplier": 2.0, "clip_norm": 0.1, "bounds": PRIVATE["dp_bounds"]}, PRIVATE, Processes),
        ({"rounds": 2, "runs": 1}, {}, Wire),
        ({"rounds": 2, "runs": 1}, {}, Processes),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "+".join(map(str, value)),
)
def test_what_a_policy_gives_is_given_to_the_same_bits(entries, parameters, kind, tmp_path):
    if parameters is PRIVATE:
        pytest.importorskip("dp_accounting")
    policy = SitePolicy(**{"fewest_rows": 1} | entries, state=tmp_path / "state.json")
    model, wire = fit(policy, parameters, kind=kind)
    assert from_packet(wire.sites["a"].answer(Request("who", -1, to_packet(None)).packet(), {})[0])[0] == "done"
    if parameters is not PRIVATE:
        assert model._fitted.models.tobytes() == fit(None, parameters)[0]._fitted.models.tobytes()


def test_a_careful_policy_says_no_to_a_site_of_nine_rows_and_what_it_would_give_up(caplog):
    mine = np.flatnonzero(LABELS == "a")[:9]
    wire = wire_of(None, {})
    wire.sites["a"] = site_of(estimator(), rows_of(X, Y, mine), "a", policy=SitePolicy())
    with pytest.raises(NoAnswer, match="fewer than 10 rows.*a sum over one row is that row") as raised:
        fit_over(wire, estimator())
    assert " 9 " not in str(raised.value)  # how many there are is not told
    assert "(9 rows)" in caplog.text and "Traceback" not in caplog.text  # the site's own log has it, in a line


def test_a_site_of_few_rows_without_a_policy_is_told(caplog):
    mine = np.flatnonzero(LABELS == "a")[:9]
    for policy, n_said in ((None, 1), (SitePolicy(fewest_rows=1), 0)):
        caplog.clear()
        wire = wire_of(None, {})
        wire.sites["a"] = site_of(estimator(), rows_of(X, Y, mine), "a", policy=policy)
        fit_over(wire, estimator())
        assert caplog.text.count("this site has 9 rows, which its sums give away") == n_said


def test_names_of_columns_stay_where_a_policy_says_so():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["age", "secret", "b", "c"])
    model, wire = fit(SitePolicy(fewest_rows=1, names=False), table=frame)
    assert model.feature_names_in_.tolist() == ["age", "secret", "b", "c"]  # from a site that tells
    asked = [address for address, request, *_ in wire.asked if request.what == "names"]
    assert asked == ["a", "b"]
    sites = {
        label: site_of(estimator(), rows_of(frame, Y, label == LABELS), label, policy=SitePolicy(1, names=False))
        for label in "ab"
    }
    silent = fit_over(Wire(sites), estimator())
    assert not hasattr(silent, "feature_names_in_") and silent.predict(X).shape == (60,)


# ------------------------------------------------------------------------------------- what counts over runs


def test_what_is_counted_counts_over_restarts_and_runs(tmp_path):
    policy = SitePolicy(fewest_rows=1, runs=2, state=tmp_path / "state.json")
    for _ in range(2):
        fit(policy, kind=Processes)
    with pytest.raises(NoAnswer, match="more runs are asked for than the 2"):
        fit(policy)
    counted = json.loads((tmp_path / "state.json").read_text())["runs"]
    assert [run["rounds"] for run in counted.values()] == [2, 2]


def test_epsilon_adds_up_over_runs_to_what_the_accountant_says_and_then_nothing_leaves(tmp_path):
    pytest.importorskip("dp_accounting")
    bill = (
        Expense("preprocessing", 800.0, 1.0, 1),
        Expense("training rounds", 200.0, 1.0, 2),
    )  # much noise: soon added up
    once, twice = epsilon(bill, 1e-3), epsilon(bill * 2, 1e-3)
    for limit, n_runs in ((once - 1e-6, 0), (twice - 1e-6, 1)):
        state = tmp_path / f"{n_runs}.json"
        policy = SitePolicy(fewest_rows=1, noise_multiplier=200.0, epsilon=limit, delta=1e-3, state=state)
        for _ in range(n_runs):
            fit(policy, PRIVATE | {"dp_noise_multiplier": 200.0})
        with pytest.raises(NoAnswer, match="epsilon of all runs would be"):
            fit(policy, PRIVATE | {"dp_noise_multiplier": 200.0})


def test_with_privacy_a_site_sends_no_update_longer_than_the_clip_and_no_losses():
    pytest.importorskip("dp_accounting")
    sent = []

    class Reading(Wire):
        def answer(self, address, packet):
            answer = super().answer(address, packet)
            request = Request.of_packet(packet)
            if request.what == "train":
                (origin,) = (from_packet(p) for name, p in self.kept[address].items() if name == request.needs[3])
                sent.append((origin, from_packet(answer)[1]))
            return answer

    fit(None, PRIVATE | {"dp_clip_norm": 0.01}, kind=Reading)
    lengths = [np.linalg.norm(update["weights"] - origin) for origin, update in sent]
    assert len(sent) == 6 and max(lengths) < 0.01 * (1 + 1e-4) and min(lengths) > 0.0099
    assert not any(update["losses"].any() for _, update in sent)


def test_a_site_that_is_invited_more_often_than_by_chance_says_so(tmp_path):
    pytest.importorskip("dp_accounting")

    class Every(Wire):
        """The plan says that each round invites a tenth, and every round asks all."""

    parameters = PRIVATE | {"participation": 0.1, "n_rounds": 30}
    policy = SitePolicy(fewest_rows=1, noise_multiplier=2.0)
    wire = wire_of(policy, parameters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skfdrmfl.server.privacy.noise.poisson_sample", lambda n, rate: np.arange(n))
        patch.setattr("skfdrmfl.server.privacy.mechanism.noise.poisson_sample", lambda n, rate: np.arange(n))
        with pytest.raises(NoAnswer, match="hardly ever do"):
            fit_over(wire, estimator(**parameters))
    n_trained = sum(request.what == "train" and address == "a" for address, request, *_ in wire.asked)
    assert n_trained <= 3 + 5 * np.sqrt(30 * 0.1 * 0.9) + 3


# ------------------------------------------------------------- what a server with an ordinary estimator could do


@pytest.fixture
def described():
    """A site that has described itself, and how it is asked for sums then."""
    site = site_of(estimator(), rows_of(X, Y, LABELS == "a"), "a", policy=SitePolicy())
    about = {"parameters": agreed_parameters(estimator()), "categories": None}
    said, kept = site.answer(Request("describe", 0, to_packet(about), run="r").packet(), {})
    agreed = to_packet(
        {"parameters": about["parameters"], "columns": None, "run": "r", "categories": {}, "masked": False}
    )
    assert from_packet(said)[0] == "done"

    def ask(queries, position=0):
        request = Request("sum", position, to_packet(queries), ("agreed",), {"agreed": agreed}, ("agreed",), "r", 20)
        return from_packet(site.answer(request.packet(), kept)[0])

    return ask


def test_parts_of_rows_that_leave_single_rows_out_are_refused(described):
    block = Block(None)
    kind, (whole,) = described([ColumnSums(block, EVERYTHING)])
    assert kind == "done" and whole.n_rows == 20
    for subset in (
        Fold(EVERYTHING, 0, 0, True, 20),  # one row
        Fold(EVERYTHING, 0, 0, False, 20),  # all but one row: with the sum of all it is that row
        Split(0.05, 0, True),
        Split(0.05, 0, False),
    ):
        kind, said = described([ColumnSums(block, subset)])
        assert kind == "refused" and "fewer than 10 rows" in said


def test_ever_other_halves_of_rows_are_refused(described):
    kinds = [described([ColumnSums(Block(None), Split(0.5, seed, True))])[0] for seed in range(4)]
    assert kinds == ["done", "done", "refused", "refused"]
    assert described([ColumnSums(Block(None), Split(0.5, 0, True))])[0] == "done"


def test_a_site_that_is_told_ever_other_places_parts_its_rows_no_more_often(described):
    """Which rows a fold holds out is drawn by the place of the site in `clients_`."""
    half = Fold(EVERYTHING, 0, 0, True, 2)
    kinds = [described([ColumnSums(Block(None), half)], position)[0] for position in range(4)]
    assert kinds == ["done", "done", "refused", "refused"]


def test_a_question_about_no_rows_does_not_hide_one_about_some(described):
    """Labels and folds are told whatever the `subset` beside them says."""
    nobody = Fold(EVERYTHING, 0, 31, True, 32)
    targets, inputs = Targets(()), Inputs(TableTransform({"X": np.arange(4)}, {"X": scaled(np.zeros(4), np.ones(4))}))
    kind, said = described([FoldMoments(inputs, targets, (Fold(EVERYTHING, 0, 0, True, 20),), nobody)])
    assert kind == "refused" and "fewer than 10 rows" in said


def test_labels_that_a_server_guesses_are_not_counted_where_few_rows_have_them():
    pandas = pytest.importorskip("pandas")
    kinds = np.where(np.arange(60) < 9, "rare", "usual")
    frame = pandas.DataFrame({"n": X[:, 0], "m": X[:, 1], "kind": kinds})
    about = {"parameters": agreed_parameters(estimator()), "categories": {2: np.array(["rare", "usual"])}}
    site = site_of(estimator(), rows_of(frame, Y, LABELS == "a"), "a", policy=SitePolicy())
    said, kept = site.answer(Request("describe", 0, to_packet(about), run="r").packet(), {})
    value = from_packet(said)[1]
    agreed = to_packet(about | {"columns": value["columns"], "run": "r", "masked": False})
    query = to_packet([Presence()])
    request = Request("sum", 0, query, ("agreed",), {"agreed": agreed}, ("agreed",), "r", 20)
    kind, said = from_packet(site.answer(request.packet(), kept)[0])
    assert kind == "refused" and "'rows by modality' would be of fewer than 10 rows" in said


def test_columns_of_several_labels_and_few_rows_tell_no_label_of_few():
    pandas = pytest.importorskip("pandas")
    kind = np.where((np.arange(60) % 3 == 0) & (np.arange(60) < 9), "rare", "usual")
    frame = pandas.DataFrame({"n": X[:, 0], "kind": kind})
    policy = SitePolicy()
    sites = {l: site_of(estimator(), rows_of(frame, Y, l == LABELS), l, policy=policy) for l in "ab"}
    with pytest.raises(NoAnswer, match="'labels of categories' would be of fewer than 10 rows"):
        fit_over(Wire(sites), estimator())
