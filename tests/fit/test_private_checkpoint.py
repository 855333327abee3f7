"""Private fits that are killed: what was sent and lost is sent again, and paid for again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import before_rounds

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.common.archive import read
from skfdrmfl.fit import checkpoint as _checkpoint
from skfdrmfl.fit import privacy_parameters as _privacy
from skfdrmfl.server.privacy import noise
from skfdrmfl.server.privacy.moments import MOMENTS_NOISE

K = 6
IDS = np.repeat(np.arange(K), 5)
X = np.random.default_rng([29, 0]).standard_normal((len(IDS), 3))
Y = X[:, 0] + 0.1 * np.random.default_rng([29, 1]).standard_normal(len(IDS))
N_ROUNDS = 5
OPTIONS = {
    "n_rounds": N_ROUNDS,
    "local_epochs": 1,
    "hidden_layer_sizes": (2,),
    "random_state": 0,
    "preprocessing": "standardize",
    "dp_noise_multiplier": 1.0,
    "dp_clip_norm": 0.5,
    "dp_bounds": {"X": (-4, 4), "y": (-4, 4)},
}


class Killed(BaseException):
    """What no fit expects."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.npz"


def fit(path, every=1, table=X, **more):
    return FDRMFLTransformer(tuning=None, **OPTIONS | more, checkpoint_path=path, checkpoint_every=every).fit(
        table, Y, client_ids=IDS
    )


def killed(monkeypatch, path, t, every=1, **more):
    """Fit, and die while clients train in round `t`; 0 is preparation."""

    def die(round_index):
        if round_index + 1 == t:
            raise Killed

    def noisy(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        before_rounds(patch, die)
        if t == 0:
            patch.setattr(_privacy, "standardisations", noisy)
        with pytest.raises(Killed):
            fit(path, every, **more)


def times(model):
    """How often each thing on the bill was sent."""
    return {expense["what"]: expense["times"] for expense in model.privacy_bill_}


PLAIN = {"preprocessing": 1, "training rounds": N_ROUNDS}


@pytest.mark.parametrize("every", [1, 2, 7])
def test_a_fit_that_nobody_kills_costs_what_it_costs_without_a_file(every, path):
    model = fit(path, every)
    assert times(model) == PLAIN
    assert times(fit(path, every)) == PLAIN  # all rounds are in the file


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("every", "t", "again"),
    # Written after rounds 0, 2 and 4: of rounds 3 and 4 nobody knows which were sent; after 4 only the fifth is left.
    [(1, 1, 1), (1, 4, 1), (2, 1, 2), (2, 2, 2), (2, 3, 2), (2, 5, 1), (7, 4, 5)],
)
def test_rounds_that_may_have_been_sent_since_the_last_writing_are_paid_for_again(every, t, again, path, monkeypatch):
    killed(monkeypatch, path, t, every)
    model = fit(path, every)
    assert times(model) == PLAIN | {"training rounds sent again": again}
    assert model.n_rounds_ == N_ROUNDS
    sent_again = next(e for e in model.privacy_bill_ if e["what"] == "training rounds sent again")
    assert (sent_again["noise_multiplier"], sent_again["sampling_rate"]) == (1.0, 1.0)


def test_every_restart_is_paid_for_also_where_it_came_no_further(path, monkeypatch):
    for _ in range(3):
        killed(monkeypatch, path, 3, every=2)
    assert times(fit(path, every=2)) == PLAIN | {"training rounds sent again": 6}


def test_what_was_at_risk_is_in_the_file_whatever_interval_is_asked_for_later(path, monkeypatch):
    killed(monkeypatch, path, 4, every=4)
    assert times(fit(path, every=1)) == PLAIN | {"training rounds sent again": 4}


def test_preprocessing_that_was_lost_is_paid_for_again(path, monkeypatch):
    killed(monkeypatch, path, 0)
    killed(monkeypatch, path, 0)
    killed(monkeypatch, path, 1)
    model = fit(path)
    assert times(model) == PLAIN | {"preprocessing": 3, "training rounds sent again": 1}
    assert model.privacy_bill_[0]["noise_multiplier"] == MOMENTS_NOISE


def test_a_warm_start_pays_for_its_own_rounds_alone(path, tmp_path, monkeypatch):
    def chain():
        return fit(tmp_path / "first.npz").set_params(warm_start=True, checkpoint_path=path)

    first = chain()
    with monkeypatch.context() as patch:
        before_rounds(patch, lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            first.fit(X, Y, client_ids=IDS)
    bill = [(e["what"], e["times"]) for e in chain().fit(X, Y, client_ids=IDS).privacy_bill_]
    rounds = "training rounds", N_ROUNDS
    assert bill == [("preprocessing", 1), rounds, ("training rounds sent again", 1), rounds]


def test_after_an_interrupt_the_finished_rounds_are_not_sent_again(path, monkeypatch):
    def interrupted(round_index):
        if round_index == 3:
            raise KeyboardInterrupt

    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path, checkpoint_every=4)
    with monkeypatch.context() as patch:
        before_rounds(patch, interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, client_ids=IDS)
    assert times(model) == {"preprocessing": 1, "training rounds": 3}
    assert times(fit(path)) == PLAIN | {"training rounds sent again": 1}  # the file was due after round 4


def test_the_clip_goes_on_where_it_stood(path, monkeypatch):
    adaptive = {"dp_target_quantile": 0.5, "dp_clip_norm": 50.0, "dp_noise_multiplier": 0.01}
    killed(monkeypatch, path, 4, **adaptive)
    before = read(path, kind=_checkpoint.KIND)["training"]["passes"][0][0]["clip_norms"]
    model = fit(path, **adaptive)
    clips = model.history_["clip_norm"]
    np.testing.assert_array_equal(clips[:4], before)
    assert len(clips) == N_ROUNDS
    np.testing.assert_allclose(clips[1:] / clips[:-1], clips[1] / clips[0], rtol=0.1)  # far above all updates
    assert clips[1] < 0.95 * clips[0]


def test_the_file_tells_nothing_of_the_rows_that_has_no_noise(tmp_path, monkeypatch):
    """With the same noise, equal moments and no client drawn into any round, files of different rows are the same."""
    contents = []
    exact = np.round(8 * X) / 8
    for name, table in (("one", exact), ("other", exact.reshape(K, 5, 3)[:, ::-1].reshape(X.shape))):
        with monkeypatch.context() as patch:
            patch.setattr(noise, "system_bytes", np.random.default_rng(5).bytes)
            patch.setattr(noise, "poisson_sample", lambda n, rate: np.zeros(0, dtype=np.int64))
            fit(tmp_path / name, table=table)
        contents.append(read(tmp_path / name, kind=_checkpoint.KIND))
    one, other = contents
    assert one["fingerprint"] == other["fingerprint"] and "6 clients" in one["fingerprint"]["client_ids"]
    assert json.dumps(one, default=repr) == json.dumps(other, default=repr)


def test_bounds_that_are_missing_are_found_before_there_is_a_file(path):
    with pytest.raises(ValueError, match="public bounds"):
        fit(path, dp_bounds={"X": (-1, 1)})
    with pytest.raises(ValueError, match="public bounds"):
        fit(path, dp_bounds={"y": (-1, 1)})
    assert not path.exists()
    fit(path, dp_bounds={"y": (-1, 1)}, preprocessing=None)


def test_another_number_of_clients_or_columns_is_refused(path):
    fit(path)
    with pytest.raises(ValueError, match="X is 2 columns .* but was 3 columns"):
        fit(path, table=X[:, :2])
    with pytest.raises(ValueError, match="client_ids is 3 clients but was 6 clients"):
        FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(X, Y, client_ids=IDS % 3)
