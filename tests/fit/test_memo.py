"""Preparation is found once for the same rows and settings, and nothing that a fit leaves can tell."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients import simulation
from skfdrmfl.fit import fit_preprocessing as _finding
from skfdrmfl.fit.fit_preprocessing import MEMO
from skfdrmfl.protocol.queries.counts import DistanceCounts

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 6)) * [1, 1, 1, 2, 2, 2]
Y = X[:, 0] + np.tanh(X[:, 3])
IDS = np.arange(60) % 3
TWO = {"a": slice(0, 3), "b": slice(3, 6)}
HOLES = X.copy()
HOLES[::4, 3:] = np.nan
FRAME = pd.DataFrame(X[:, :3], columns=list("abc")).assign(kind=np.where(X[:, 4] > 0, "up", "down"))


def fitted(table=X, y=Y, ids=IDS, **parameters):
    return FDRMFLTransformer(**({"tuning": None} | {"n_rounds": 2, "random_state": 0} | parameters)).fit(
        table, y, client_ids=ids
    )


@pytest.fixture
def asked(monkeypatch):
    """Grow by one for each preprocessing that is found by sums."""
    calls = []
    find = _finding.fit_blocks
    monkeypatch.setattr(_finding, "fit_blocks", lambda *args: calls.append(args) or find(*args))
    return calls


CASES = {
    "defaults": {},
    "central": {"ids": None},
    "standardized": {"preprocessing": "standardize"},
    "unchanged": {"preprocessing": None},
    "float32": {"table": X.astype(np.float32)},
    "columns first": {"table": np.asfortranarray(X)},
    "several outputs": {"y": np.column_stack([Y, Y**2])},
    "missing modalities": {"table": HOLES, "modalities": TWO},
    "categories": {"table": FRAME},
    "early stopping": {"early_stopping": True},
    "who comes and goes": {"availability": [[True, True, False], [True, False, True]]},
    "torch": {"engine": "torch"},
    "pre-treated": {"pretreatment": "snv+sg1"},
    "missing modalities, torch": {"table": HOLES, "modalities": TWO, "engine": "torch"},
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", CASES)
def test_a_fit_of_rows_prepared_before_leaves_the_same_bytes_ledger_included(case, asked):
    first = pickle.dumps(fitted(**CASES[case]))
    assert len(asked) == 1
    assert pickle.dumps(fitted(**CASES[case])) == first
    assert len(asked) == 1
    MEMO.clear()
    assert pickle.dumps(fitted(**CASES[case])) == first
    assert len(asked) == 2


def test_a_first_partial_fit_uses_what_a_fit_has_prepared(asked):
    fitted()
    one, other = (FDRMFLTransformer(random_state=0, tuning=None).partial_fit(X, Y, IDS) for _ in range(2))
    assert len(asked) == 1
    MEMO.clear()
    assert pickle.dumps(FDRMFLTransformer(random_state=0, tuning=None).partial_fit(X, Y, IDS)) == pickle.dumps(one)
    assert pickle.dumps(other) == pickle.dumps(one)


def test_settings_of_training_alone_share_a_preparation_and_keep_their_own_values(asked):
    others = [
        {"learning_rate": 0.02, "weight_decay": 0.1, "mi_weight": 0.0, "n_components": 3, "algorithm": "fedprox"},
        *({"random_state": 1}, {"hidden_layer_sizes": (4,)}, {"head_hidden_layer_sizes": (3,)}, {"modality_dim": 3}),
    ]
    fitted()
    models = [fitted(**parameters) for parameters in others]
    assert len(asked) == 1
    for parameters, model in zip(others, models, strict=True):
        MEMO.clear()
        assert pickle.dumps(fitted(**parameters)) == pickle.dumps(model)


def test_where_rows_lie_is_counted_once_of_a_preparation(monkeypatch):
    asked, count = [], DistanceCounts._of
    monkeypatch.setattr(DistanceCounts, "_of", lambda query, client: asked.append(query) or count(query, client))
    models = [fitted(learning_rate=rate) for rate in (0.01, 0.02)]
    assert len(asked) == 3  # clients, of whom each is asked once
    fitted(shrinkage=1e-3)
    assert len(asked) == 6
    assert_array_equal(models[0].domain(X)["T2"], models[1].domain(X)["T2"])


def test_rows_of_those_who_are_there_last_are_counted_whoever_else_was_before(monkeypatch):
    monkeypatch.setattr(simulation, "MANY_CLIENTS", 1)
    last = [[True, True, False], [False, True, True], [True, False, True]]
    models = [fitted(availability=[[True] * 3, there]) for there in last]
    for there, model in zip(last, models, strict=True):
        MEMO.clear()
        assert pickle.dumps(fitted(availability=[[True] * 3, there])) == pickle.dumps(model)


def changed(array, i=7):
    out = array.copy()
    out[i] = out[i] + 1e-9 if out.dtype.kind == "f" else (out[i] + 1) % 3
    return out


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "other",
    [
        {"table": changed(X)},
        {"y": changed(Y)},
        {"ids": changed(IDS)},
        {"table": X.astype(np.float32)},
        {"table": np.asfortranarray(X)},
        {"shrinkage": 1e-3},
        {"preprocessing": "standardize"},
        {"pretreatment": "snv"},
        {"pretreatment": "sg1"},
        {"modalities": TWO},
        {"modalities": {"a": slice(0, 2), "b": slice(2, 6)}},
        {"early_stopping": True},
        {"early_stopping": True, "random_state": 1},
        {"early_stopping": True, "validation_fraction": 0.2},
        {"availability": [[True, True, False], [True, True, True]]},
    ],
)
def test_whatever_preparation_reads_is_part_of_the_key(other, asked):
    for known in (
        {},
        {"pretreatment": "snv+sg1"},
        {"modalities": {"a": slice(0, 4), "b": slice(4, 6)}},
        {"early_stopping": True},
    ):
        if known != other:
            fitted(**known)
    before = len(asked)
    with_memo = fitted(**other)
    assert len(asked) == before + 1
    MEMO.clear()
    assert pickle.dumps(fitted(**other)) == pickle.dumps(with_memo)


def test_groups_are_part_of_the_key_where_rows_are_held_out(asked):
    for groups in (None, np.arange(60) // 6, np.arange(60) // 12):
        model = FDRMFLTransformer(n_rounds=2, random_state=0, early_stopping=True, tuning=None)
        model.fit(X, Y, client_ids=IDS, groups=groups)
    assert len(asked) == 3


@pytest.mark.parametrize(
    "parameters",
    [
        {"dp_noise_multiplier": 1.0, "dp_clip_norm": 1.0, "dp_bounds": {"X": (-9, 9), "y": (-9, 9)}},
        {"aggregation": "median"},
        {"tuning": "mixture"},
    ],
)
def test_nothing_is_kept_of_private_guarded_or_mixed_fits(parameters):
    if "dp_bounds" in parameters:
        parameters = {**parameters, "preprocessing": "standardize"}
    fitted(**parameters)
    assert not len(MEMO)


def test_nothing_is_kept_of_fits_with_a_checkpoint(tmp_path):
    fitted(checkpoint_path=tmp_path / "fit.ckpt")
    assert not len(MEMO)


def test_the_memo_is_bounded_in_number_and_what_was_used_last_stays(asked):
    for i in range(_finding.MOST_KEPT):
        fitted(y=Y + i)
    fitted(y=Y)  # used again
    fitted(y=Y - 1)  # takes the place of Y + 1
    assert len(MEMO) == _finding.MOST_KEPT
    before = len(asked)
    fitted(y=Y)
    assert len(asked) == before
    fitted(y=Y + 1)
    assert len(asked) == before + 1


def test_the_memo_is_bounded_in_bytes(monkeypatch):
    fitted()
    (one,) = (kept.n_bytes for kept in MEMO._kept.values())
    assert one >= 60 * (6 * 4 + 8)
    monkeypatch.setattr(_finding, "MOST_BYTES", max(int(2.5 * one), X.nbytes))
    for i in range(4):
        fitted(y=Y + i)
    assert len(MEMO) == _finding.MOST_BYTES // one
    MEMO.clear()
    monkeypatch.setattr(_finding, "MOST_BYTES", X.nbytes - 1)
    fitted()
    assert not len(MEMO)


def test_threads_share_it():
    alone = pickle.dumps(fitted())
    MEMO.clear()
    with ThreadPoolExecutor(4) as threads:
        assert all(done == alone for done in threads.map(lambda _: pickle.dumps(fitted()), range(8)))
    assert len(MEMO) == 1


def _length(queue):
    queue.put(len(MEMO))


def test_a_fork_begins_without_it():
    fitted()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_length, args=(queue,))
    child.start()
    assert queue.get() == 0
    child.join()
    assert len(MEMO) == 1
