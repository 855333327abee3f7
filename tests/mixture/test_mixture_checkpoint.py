"""A mixture that was killed, wherever, goes on from its file and ends in the same bits."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.mixture.fitting import MixtureTask

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 4))
Y = X[:, 0] + X[:, 1] ** 2
IDS = np.arange(60) % 3
OPTIONS = {"random_state": 0, "n_rounds": 3, "local_epochs": 1}


class Killed(BaseException):
    """What a killed fit does not survive."""


def killed_after(n_rounds, monkeypatch, fit):
    """Call `fit`, which does not go beyond so many rounds, of all passes."""
    train = MixtureTask.train

    def cut_short(*args, **options):
        for done, stand in enumerate(train(*args, **options), 1):
            yield stand
            if done == n_rounds:
                raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(MixtureTask, "train", cut_short)
        fit()


@pytest.fixture(scope="module")
def whole():
    """A mixture that nobody kills."""
    return FDRMFLTransformer(**OPTIONS).fit(X, Y, IDS)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("n_rounds", "every"), [(1, 2), (2, 1), (3, 2), (4, 1), (4, 2), (5, 2)])
def test_killed_in_any_round_of_any_pass_it_ends_in_the_same_bits(n_rounds, every, whole, tmp_path, monkeypatch):
    model = FDRMFLTransformer(**OPTIONS, checkpoint_path=tmp_path / "fit.npz", checkpoint_every=every)
    killed_after(n_rounds, monkeypatch, lambda: model.fit(X, Y, IDS))
    assert not hasattr(model, "members_")
    model.fit(X, Y, IDS)
    assert_array_equal(model.transform(X), whole.transform(X))
    assert_array_equal(model.predict(X), whole.predict(X))
    assert model.members_ == whole.members_
    assert_array_equal(model.history_["loss"], whole.history_["loss"])


def test_a_mixture_that_is_done_is_in_its_file(tmp_path, monkeypatch):
    model = FDRMFLTransformer(**OPTIONS, checkpoint_path=tmp_path / "fit.npz").fit(X, Y, IDS)
    again = FDRMFLTransformer(**OPTIONS, checkpoint_path=tmp_path / "fit.npz")
    trained = []
    run = MixtureTask.train
    monkeypatch.setattr(MixtureTask, "train", lambda *a, **o: (trained.append(s) or s for s in run(*a, **o)))
    assert_array_equal(again.fit(X, Y, IDS).predict(X), model.predict(X))
    assert len(trained) == 2  # where each pass stood at its end
