"""The ledger counts every kind of message that the page on privacy lists, and no other; and its numbers add up."""

import pickle
import re
from collections import Counter
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.fit.mixture import N_FOLDS
from skfdrmfl.method.intervals import ERROR_EDGES
from skfdrmfl.method.objective import term_names
from skfdrmfl.method.seen_rows import MOST_COLUMNS
from skfdrmfl.method.suspects import EDGES, MOST_BENT, PENALTIES, REASONS
from skfdrmfl.mixture import sums
from skfdrmfl.protocol.plan import Inputs, Model
from skfdrmfl.protocol.queries import whitening
from skfdrmfl.protocol.queries.importance import places

PAGE = Path(__file__).resolve().parents[2] / "docs" / "privacy.md"
rng = np.random.default_rng(0)
N, P = 24, 6
X = rng.standard_normal((N, P))
Y = X[:, 0] + 0.1 * rng.standard_normal(N)
IDS = np.repeat(["a", "b", "c"], [10, 8, 6])
SMALL = {"n_rounds": 2, "local_epochs": 1, "hidden_layer_sizes": (3,), "modality_dim": 3, "random_state": 0}
OF_SUSPECTS = "medians", "products of usual rows", "counts of usual distances", "counts of suspects"
TRAINED = {"global models", "global models for rows held out", "parameters", "loss terms"}
TRAINED |= {"gradients", "shifts of gradients", "mean gradients", "local steps"}
TRAINED |= {"clipped updates", "updates within the clip"}


def small(**parameters):
    return FDRMFLTransformer(**({"tuning": None} | SMALL | parameters))


def mixture(table, y, **parameters):
    """A fitted mixture; `passes` says how many parameters and runs its networks have, of one shape each."""
    model = small(tuning="mixture", **parameters)
    task = model._prepare_fit(table, y, IDS).task
    model.passes = [(one.network.layout.size, len(one.runs)) for one in task.passes]
    return model.fit(table, y, client_ids=IDS)


# --------------------------------------------------------------------------------- the page and the ledger


def read_page():
    """Rows of both tables: kind to direction, shapes in letters, who is seen, and in which fits."""
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            what, shape, *more = (cell.strip(" `") for cell in line.strip("|").split("|"))
            direction, seen, fit = ("down", "", *more) if len(more) == 1 else ("up", *more[:2])
            assert what not in rows
            rows[what] = {"direction": direction, "shape": shape, "seen": seen, "fit": fit or "both"}
    return rows


ROWS = read_page()
STAGE = "mixture: "


def kind(message):
    """What a message is called on the page, which has those of a mixture without their prefix."""
    return message.what.removeprefix(STAGE)


def is_mixture(model):
    return model.members_[0]["name"] == "mixture"


def shapes(letters, values):
    """`1; p × q` with p = 2, q = 3 is ((), (2, 3)); labels have no shape."""
    parts = []
    for part in letters.split(";"):
        factors = part.split()[::2]
        sizes = tuple(int(f) if f.isdigit() else values.get(f) for f in factors)
        parts.append(() if factors == ["1"] else None if factors[0] in ("labels", "counts") else sizes)
    return tuple(parts)


def fit_all():
    """Models by name, with the columns of their blocks and the outputs; all kinds of messages occur."""
    several = {"modalities": {"a": [0, 1, 2, 3], "b": [4, 5]}}
    holes = X.copy()
    holes[:4, 4:] = np.nan
    two_outputs = np.column_stack([Y, Y**2])
    frame = pd.DataFrame(X[:, :3], columns=list("rst")).assign(kind=pd.Categorical(np.where(Y > 0, "yes", "no")))
    flat = X[:, [0, 1, 2, 0, 1, 2]]  # three directions hold all its variance
    with pytest.MonkeyPatch.context() as patch:
        yield "default", small().fit(X, Y, client_ids=IDS), {P, 1}
        for how in ("standardize", None):
            yield f"{how}", small(preprocessing=how).fit(X, Y, client_ids=IDS), {P, 1}
        yield "missing", small(suspects="warn", **several).fit(holes, two_outputs, client_ids=IDS), {4, 2}
        yield "categories", small().fit(frame, Y, client_ids=IDS), {3, 1}
        yield "early", small(suspects="warn", early_stopping=True, **several).fit(X, Y, client_ids=IDS), {4, 2, 1}
        for algorithm in ("scaffold", "fedsgd", "fednova"):
            yield algorithm, small(algorithm=algorithm).fit(X, Y, client_ids=IDS), {P, 1}
        yield "robust", small(aggregation="median", early_stopping=True).fit(X, Y, client_ids=IDS), {P, 1}
        partly = small(participation=0.4).fit(X, Y, client_ids=IDS)
        yield "continued", partly.partial_fit(X[:5], Y[:5], client_ids=["a", "a", "b", "new", "new"]), {P, 1}
        dp = {"dp_clip_norm": 1.0, "dp_target_quantile": 0.5, "dp_bounds": {"X": (-9, 9), "y": (-9, 9)}}
        yield "private", small(preprocessing="standardize", **dp).fit(X, Y, client_ids=IDS), {P, 1}
        patch.setattr(whitening, "MAX_EXACT_COLUMNS", 4)
        patch.setattr(whitening, "RANGE_DIMENSIONS", 5)
        patch.setattr(sums, "MAX_EXACT_COLUMNS", 4)
        yield "wide", small().fit(flat, Y, client_ids=IDS), {P, 1}
        yield "wide mixture", mixture(flat, Y), {P, 1}
        wider = rng.standard_normal((N, 12))
        yield "sparse mixture", mixture(wider, Y), {12, 1}
    yield "mixture", mixture(X, Y), {P, 1}
    smooth = np.cumsum(X @ rng.standard_normal((P, 25)), 1) + 30 * rng.standard_normal(
        (N, 1)
    )  # SNV appends two columns
    yield "smooth mixture", mixture(smooth, two_outputs), {25, 27, 2}
    yield "missing mixture", mixture(holes, two_outputs, **several), {4, 2}
    yield "categories mixture", mixture(frame, Y), {3, 1}
    for algorithm in ("scaffold", "fedsgd", "fednova"):
        yield f"{algorithm} mixture", mixture(X, Y, algorithm=algorithm), {P, 1}
    robust = {"aggregation": "median", "early_stopping": True}
    yield "robust mixture", mixture(X, Y, **robust), {P, 1}


def _name(model, j):
    """What a column is called."""
    return getattr(model, "feature_names_in_", range(model.n_features_in_))[j]


def of_mixture(model, q):
    """The values of the letters that are of a mixture."""
    n_columns = sum(map(len, model.modalities_.values())) - len(model.categories_)
    return {
        "D": sorted({size for size, _ in model.passes}),
        "R": sorted({n_runs for _, n_runs in model.passes}),
        "F": [N_FOLDS],
        "e": [n_columns, n_columns + 2, 3, 0],  # as it is, after SNV, of three directions, too wide
        "B": range(1, len(model.members_)),  # fewer before the last pass
        "s": [2 * q + n_scores for n_scores in range(2 + q + 1)],
        "n": [n_columns],
        "k": [sum(map(len, model.categories_.values()))],
    }


@pytest.fixture(scope="module")
def fits():
    """Every message of all fits, with the letters' values."""
    found = {}
    for name, model, p in fit_all():
        fitted = model._fitted
        q = len(fitted.target.mean)
        letters = {
            "p": sorted(p),
            "j": [columns - 1 for columns in sorted(p)],
            "q": [q],
            "M": [len(model.modalities_)],
            "r": [5],
        }
        u = q + sum(map(len, model.modalities_.values())) - len(model.categories_)
        codes = set(model.categories_)
        v = sum(not {_name(model, j) for j in mine} <= codes for mine in model.modalities_.values())
        letters |= {"u": [u], "v": [v], "a": [1 + v + u], "l": [len(PENALTIES), 2 * len(PENALTIES)]}
        letters |= {"b": [0, *(1 + u + k * (k + 1) // 2 for k in range(MOST_BENT + 1))]}
        if is_mixture(model):
            letters |= of_mixture(model, q)
        else:
            w = len(places(Model(fitted.network, fitted.weights, Inputs(fitted.table)))[0])
            letters |= {"e2": [2 * (P + 1)], "c": [2], "D": [fitted.network.layout.size], "w": [w]}
        found[name] = model, letters
    return found


def test_the_page_has_a_row_for_each_kind_of_message_and_no_other(fits):
    seen = {}
    for model, _ in fits.values():
        for message in model.federation_log_:
            seen.setdefault(kind(message), set()).add("mixture" if is_mixture(model) else "alone")
    assert {what: "both" if len(where) > 1 else min(where) for what, where in seen.items()} == {
        what: row["fit"] for what, row in ROWS.items()
    }


def test_messages_of_a_mixture_say_so_but_for_those_before_it(fits):
    for model, _ in fits.values():
        for m in model.federation_log_:
            before = m.what in ("labels of categories", "magnitudes of columns") or m.what in OF_SUSPECTS
            assert m.what.startswith(STAGE) == (is_mixture(model) and not before), m


def test_directions_and_who_is_seen_are_as_the_page_says(fits):
    for name, (model, _) in fits.items():
        for m in model.federation_log_:
            seen = ROWS[kind(m)]["seen"]
            if name.startswith("robust") and m.direction == "up" and kind(m) != "errors on rows held out":
                seen = "each"
            assert (m.direction, m.seen) == (ROWS[kind(m)]["direction"], seen), m


def fitting(message, letters):
    """The shapes of a row of the page for all values that its letters may have."""
    row = ROWS[kind(message)]["shape"]
    letters = letters | {"h": [min(message.round, 1 + small().history_size)]}
    used = [letter for letter in letters if re.search(rf"\b{letter}\b", row)]
    found = [
        shapes(row, dict(zip(used, values, strict=True))) for values in product(*(letters[letter] for letter in used))
    ]
    if kind(message) in TRAINED:  # several networks have an axis before
        found += [((R, *shape),) for (shape,) in found for R in letters.get("R", ())]
    return found


def parts_of(message):
    """The shapes of a message; those of training are one array, local steps of several networks one number each."""
    return (message.shape,) if kind(message) in TRAINED else message.shape


@pytest.mark.parametrize("what", ROWS)
def test_shapes_are_those_of_the_page(fits, what):
    for model, letters in fits.values():
        for m in model.federation_log_:
            if kind(m) == what:
                assert parts_of(m) in fitting(m, letters), m


def test_bytes_are_those_of_the_shapes_on_the_page(fits):
    """Float32 in training, float64 elsewhere; a count is one number."""
    for model, letters in fits.values():
        for m in model.federation_log_:
            if kind(m) == "counts of errors":  # a number of rows, whose, and how many in each bin
                assert m.bytes == m.clients * 8 * (2 + letters["q"][0] * (len(ERROR_EDGES) + 1))
            elif m.what == "counts of suspects":  # rows, whose, by reason, kept, and kept that have each modality
                assert m.bytes == m.clients * 8 * (3 + len(REASONS) + letters["M"][0])
            elif m.what != "labels of categories":
                size = 4 if kind(m) in TRAINED else 8
                expected = {m.clients * size * sum(prod(part) for part in parts) for parts in fitting(m, letters)}
                assert m.bytes in expected, m


def test_numbers_on_the_page_are_those_of_the_code():
    assert ROWS["loss terms"]["shape"] == f"{len(term_names())}"
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"where one has more than {MOST_COLUMNS}" in text
    assert f"l {len(PENALTIES)} penalties" in text and f"; l × q × {len(EDGES) + 1} " in text
    assert f"up to {MOST_BENT * (MOST_BENT + 1) // 2} products" in text
    assert f"r {whitening.RANGE_DIMENSIONS} directions" in text
    assert f"F {N_FOLDS} folds" in text
    assert f"q × {len(ERROR_EDGES) + 1}: rows held out by error" in text
    assert f"of at most {whitening.MAX_EXACT_COLUMNS:,} columns" in text


def test_labels_weigh_their_text_once_a_client_and_column():
    frame = pd.DataFrame({"x": X[:, 0], "kind": ["no", "yes"] * 12, "more": ["é"] * N})
    log = small(n_rounds=1).fit(frame, Y, client_ids=IDS).federation_log_
    sent = [m for m in log if m.what == "labels of categories"]
    assert [(m.clients, m.bytes, m.shape) for m in sent] == [(3, 3 * 5, (None,)), (3, 3 * 2, (None,))]


# ------------------------------------------------------------------------------------------------- laws


def counted(log):
    return Counter((m.direction, m.what) for m in log)


def test_bytes_by_client_add_up_to_the_bytes_of_the_messages(fits):
    for model, _ in fits.values():
        log = model.federation_log_
        if model.privacy_bill_:
            assert log.by_client() == []
            continue
        by_client = log.by_client()
        assert [row["client"] for row in by_client] == model.clients_.tolist()
        for direction, key in (("up", "sent"), ("down", "received")):
            total = sum(m.bytes for m in log if m.direction == direction)
            assert sum(row[key] for row in by_client) == total > 0
            assert sum(row["bytes"] for row in log.by_kind() if row["direction"] == direction) == total


@pytest.mark.parametrize("K", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_thousands_of_clients_cost_no_more_records_than_three(K):
    x = np.random.default_rng(1).standard_normal((K, 1))
    model = small(n_rounds=1, hidden_layer_sizes=(), modality_dim=1, n_components=1, preprocessing=None, mi_weight=0)
    few = model.fit(x[:3], x[:3, 0], client_ids=np.arange(3)).federation_log_
    many = model.fit(x, x[:, 0], client_ids=np.arange(K)).federation_log_
    assert [m._replace(clients=3, bytes=m.bytes * 3 // K) for m in many] == list(few)
    assert {m.clients for m in many} == {K}


def test_one_client_sends_what_each_of_several_does():
    def sent(ids):
        log = small(suspects="warn").fit(X, Y, client_ids=ids).federation_log_
        return [(m.round, m.direction, m.what, m.shape, m.bytes / m.clients) for m in log]

    assert sent(None) == sent(IDS) != []


def test_a_round_more_has_the_records_of_a_round_more():
    two, three = (small(n_rounds=n).fit(X, Y, client_ids=IDS).federation_log_ for n in (2, 3))
    more = counted(three)
    more.subtract(counted(two))
    assert +more == {("down", "global models"): 1, ("up", "parameters"): 1, ("up", "loss terms"): 1}
    assert not -more
    training = [m for m in three if m.what in TRAINED]
    assert [m.round for m in training] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [m for m in training if m.round < 3] == [m for m in two if m.what in TRAINED]


def test_partial_fit_appends_and_rounds_are_counted_on():
    model = small().fit(X, Y, client_ids=IDS)
    before = model.federation_log_
    known = {row["client"]: row for row in before.by_client()}
    after = model.partial_fit(X[:4], Y[:4], client_ids=["a", "a", "new", "new"]).federation_log_
    assert list(after[: len(before)]) == list(before)
    added = after[len(before) :]
    assert {m.round for m in added} == {3}
    assert [m.what for m in added] == [
        *("global models", "parameters", "loss terms"),
        *("responses and spreads", "sums of Z", "for products of Z", "products of Z", "counts of distances"),
    ]
    rows = {row["client"]: row for row in after.by_client()}
    assert rows["b"] == known["b"] and rows["c"] == known["c"]  # absent from this call
    assert rows["a"]["sent"] - known["a"]["sent"] == rows["new"]["sent"] > 0
    assert [row["client"] for row in before.by_client()] == ["a", "b", "c"]  # the earlier log stays as it was


def test_a_call_that_fails_leaves_the_log_as_it_was():
    model = small().fit(X, Y, client_ids=IDS)
    before, by_client = list(model.federation_log_), model.federation_log_.by_client()
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(learning_rate=1e30, local_epochs=5).partial_fit(X, Y, client_ids=IDS)
    assert list(model.federation_log_) == before
    assert model.federation_log_.by_client() == by_client


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_absentees_neither_send_nor_receive_in_a_round(engine):
    model = small(n_rounds=4, participation=0.4, history_size=0, engine=engine).fit(X, Y, client_ids=IDS)
    there = (~np.isnan(model.history_["loss_per_client"])).sum(0)
    assert there.sum() == 4 and len(set(there)) > 1
    log = model.federation_log_
    assert {m.clients for m in log if m.what in TRAINED} == {1}
    size = 4 * model._fitted.network.layout.size
    beside = {d: sum(m.bytes // 3 for m in log if m.what not in TRAINED and m.direction == d) for d in ("up", "down")}
    for row, n in zip(log.by_client(), there.tolist(), strict=True):
        assert row["sent"] == beside["up"] + n * (size + 4 * len(term_names()))
        assert row["received"] == beside["down"] + n * size


def test_sums_of_a_mixture_come_before_its_first_round(fits):
    model, _ = fits["mixture"]
    sums_by_fold = [m.round for m in model.federation_log_ if kind(m) == "products by fold"]
    assert sums_by_fold == [0]


def test_pickles_and_frames_keep_all_that_was_counted(fits):
    model, _ = fits["continued"]
    log = model.federation_log_
    for copy in (pickle.loads(pickle.dumps(log)), pickle.loads(pickle.dumps(model)).federation_log_):
        assert list(copy) == list(log)
        assert copy.by_client() == log.by_client()
        assert repr(copy) == repr(log)
    frame = pd.DataFrame(log)
    assert frame.columns.tolist() == ["round", "direction", "what", "shape", "clients", "bytes", "seen"]
    assert frame.groupby("what")["bytes"].sum().to_dict() == {row["what"]: row["bytes"] for row in log.by_kind()}


def test_a_printed_log_has_a_line_for_each_kind(fits):
    log = fits["default"][0].federation_log_
    head, *lines = str(log).splitlines()
    assert head.split() == ["what", "direction", "seen", "records", "messages", "bytes"]
    assert [re.split("  +", line)[0] for line in lines] == list(dict.fromkeys(m.what for m in log))
    line = next(line for line in lines if line.startswith("parameters"))
    assert line.split() == [
        "parameters",
        "up",
        "total",
        "2",
        "6",
        str(sum(m.bytes for m in log if m.what == "parameters")),
    ]
