"""Privacy of clients: what is clipped, how much noise there is, what it costs, and that nothing unpaid is left."""

import importlib
import io
import pickle
from math import exp, inf, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import normal, simulate
from sklearn.model_selection import GridSearchCV

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.data.held_out import EVERYTHING
from skfdrmfl.fit import privacy_parameters as _privacy
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.plan import ClientPrivacy
from skfdrmfl.server.privacy import accountant, noise
from skfdrmfl.server.privacy.accountant import Expense, default_delta, epsilon, with_expense
from skfdrmfl.server.privacy.mechanism import CLIP_RATE, NoisyMean, adapted, clipped, with_adapted_clip
from skfdrmfl.server.privacy.moments import (
    LENGTH_OF_COLUMN,
    MOMENTS_NOISE,
    Bounds,
    ClippedMoments,
    standardisations,
)

K, P = 12, 4
IDS = np.array([f"site {i}" for i in np.repeat(np.arange(K), 5)])
X = np.random.default_rng([13, 0]).standard_normal((len(IDS), P))
Y = X[:, 0] + 0.1 * np.random.default_rng([13, 1]).standard_normal(len(IDS))
SMALL = {"n_rounds": 3, "local_epochs": 1, "hidden_layer_sizes": (3,), "modality_dim": 3, "random_state": 0}
BOUNDS = {"X": (-4, 4), "y": (-4, 4)}
PRIVATE = {
    "preprocessing": "standardize",
    "participation": 0.5,
    "dp_noise_multiplier": 4.0,  # so much has a bill that is soon worked out
    "dp_clip_norm": 0.5,
    "dp_bounds": BOUNDS,
}


def small(**parameters):
    return FDRMFLTransformer(**({"tuning": None} | SMALL | parameters))


def private(**parameters):
    return small(**(PRIVATE | parameters))


@pytest.fixture
def seeded(monkeypatch):
    """The system's entropy, replaced by bytes that are the same each time."""
    rng = np.random.default_rng(7)
    monkeypatch.setattr(noise, "system_bytes", rng.bytes)


# ------------------------------------------------------------------------------------------------ clipping


def test_updates_are_cut_to_the_clip_and_shorter_ones_left_alone():
    updates = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], dtype=np.float32)
    cut, within = clipped(updates, 1.0)
    assert within.tolist() == [False, True, True]
    np.testing.assert_allclose(cut, [[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]], rtol=1e-7)
    long = clipped(normal(1, 50, 30).numpy() * 100, 0.7)[0]
    np.testing.assert_allclose(np.linalg.norm(long, axis=1), 0.7, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_update_that_is_not_finite_counts_as_nothing(bad):
    cut, within = clipped(np.array([[bad, 1.0], [0.1, 0.0]]), 1.0)
    assert not cut[0].any() and not within[0] and within[1]


def test_the_clip_shrinks_where_more_than_the_target_are_within_it_and_grows_where_fewer_are():
    assert adapted(2.0, 1.0, 0.5) == pytest.approx(2.0 * exp(-CLIP_RATE * 0.5))
    assert adapted(2.0, 0.0, 0.5) == pytest.approx(2.0 * exp(CLIP_RATE * 0.5))
    assert adapted(2.0, 0.5, 0.5) == 2.0


@pytest.mark.parametrize("start", [1e-2, 1e2])
def test_an_adaptive_clip_arrives_at_the_quantile_from_either_side(start):
    lengths = np.random.default_rng(3).lognormal(0.0, 0.5, 400)
    updates = lengths[:, None] * np.eye(1, 5)
    privacy = ClientPrivacy(0.0, start, 1.0, len(lengths), target_share=0.7)
    for _ in range(150):
        mean = NoisyMean(np.zeros(5), privacy)
        mean.add(np.ones(len(lengths)), updates)
        mean.result()
        privacy = with_adapted_clip(privacy, mean.share_within)
    assert privacy.clip_norm == pytest.approx(np.quantile(lengths, 0.7), rel=0.05)


# --------------------------------------------------------------------------------------------------- noise


def test_noise_is_normal_with_the_deviation_asked_for(seeded):
    drawn = noise.gaussian(40_000, 3.0)
    assert abs(drawn.mean()) < 0.1 and abs(drawn.std() / 3.0 - 1) < 0.03
    assert abs(np.mean(np.abs(drawn) < 3.0) - 0.6827) < 0.02 and abs(np.mean(drawn**4) / 81 - 3) < 0.3


def test_noise_is_never_the_same_twice_and_does_not_follow_numpy():
    state = np.random.mtrand._rand.get_state()
    first = noise.gaussian(5, 1.0)
    np.random.mtrand._rand.set_state(state)
    assert not np.any(first == noise.gaussian(5, 1.0))


def test_each_client_is_drawn_by_itself_with_the_probability_asked_for(seeded):
    counts = np.array([len(noise.poisson_sample(50, 0.3)) for _ in range(2000)])
    assert abs(counts.mean() - 15) < 0.5 and abs(counts.var() / (50 * 0.3 * 0.7) - 1) < 0.2
    assert len(noise.poisson_sample(9, 1.0)) == 9


def test_the_mean_of_a_round_has_a_fixed_denominator_equal_weights_and_the_noise_of_the_clip(seeded):
    D, privacy = 20_000, ClientPrivacy(2.0, 0.5, 0.25, 40)
    broadcast, update = np.full(D, 3.0), np.zeros(D)
    update[0] = 100.0  # clipped to .5
    mean = NoisyMean(broadcast, privacy)
    mean.add(np.array([999]), (broadcast + update)[None])
    step = mean.result() - broadcast
    assert abs(step[1:].std() / (2.0 * 0.5 / 10) - 1) < 0.03  # q K = 10, although one came
    quiet = NoisyMean(broadcast, ClientPrivacy(0.0, 0.5, 0.25, 40))
    quiet.add(np.array([999]), (broadcast + update)[None])
    assert quiet.result()[0] == pytest.approx(3.0 + 0.5 / 10)


def test_parameters_that_are_not_trained_get_no_noise():
    used = np.array([True, False, True])
    mean = NoisyMean(np.zeros(3), ClientPrivacy(1.0, 1.0, 1.0, 2), used)
    mean.add(np.ones(1), np.array([[0.0, 9.0, 0.5]]))
    result = mean.result()
    assert result[1] == 0 and result[0] != 0 and result[2] != 0


def test_gaps_between_arrays_and_a_critic_without_weight_stay_as_they_were():
    model = private(mi_weight=0.0).fit(X, Y, client_ids=IDS)
    first = private(mi_weight=0.0, dp_noise_multiplier=0.0, dp_clip_norm=1e-30).fit(X, Y, client_ids=IDS)
    network = model._fitted.network
    still = ~network.trained(False)
    now, before = model._fitted.models[0], first._fitted.models[0]
    assert still.any() and np.array_equal(now[still], before[still]) and not np.any(now[~still] == before[~still])
    assert network.trained(True).sum() > network.trained(False).sum()


def test_noise_on_the_count_is_paid_for_by_more_noise_on_the_updates():
    for n_expected in (5.0, 1000.0):
        of_updates, of_count = noise.divided(1.3, n_expected)
        assert of_updates**-2 + (2 * of_count) ** -2 == pytest.approx(1.3**-2)
        assert 1.3 < of_updates < 1.05 * 1.3
    assert noise.divided(0.0, 10.0) == (0.0, 0.0)


# ------------------------------------------------------------------------------------------------ the bill


def test_epsilon_of_two_hundred_rounds():
    assert epsilon((Expense("rounds", 1.0, 0.1, 200),), 1e-5) == pytest.approx(9.97, abs=0.01)


def test_epsilon_of_one_gaussian_is_that_of_its_closed_form():
    """delta(eps) = Phi(1/2s - eps s) - e^eps Phi(-1/2s - eps s), s the multiplier (Balle and Wang 2018)."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    def delta(eps):
        return norm.cdf(0.25 - 2 * eps) - exp(eps) * norm.cdf(-0.25 - 2 * eps)

    assert epsilon((Expense("once", 2.0, 1.0, 1),), 1e-5) == pytest.approx(
        brentq(lambda e: delta(e) - 1e-5, 0, 9), 1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "bill",
    [
        (Expense("rounds", 1.0, 0.1, 200),),
        (Expense("rounds", 2.0, 0.5, 20),),
        (Expense("rounds", 1.5, 0.01, 1000), Expense("more rounds", 1.0, 0.3, 60)),
    ],
)
def test_epsilon_is_what_opacus_works_out_by_other_means(bill):
    """Its convolution of privacy loss variables (Gopi et al. 2021) agrees, its Renyi divergences are an upper bound."""
    from opacus import accountants

    by_convolution, by_renyi = accountants.PRVAccountant(), accountants.RDPAccountant()
    for theirs in (by_convolution, by_renyi):
        theirs.history = [(e.noise_multiplier, e.sampling_rate, e.times) for e in bill]
    ours = epsilon(bill, 1e-5)
    assert ours == pytest.approx(by_convolution.get_epsilon(1e-5, eps_error=0.01), abs=0.015)
    assert ours < by_renyi.get_epsilon(1e-5)


def test_lines_of_one_kind_are_added_up_and_others_are_new_lines():
    a, b = Expense("rounds", 1.0, 0.1, 3), Expense("rounds", 2.0, 0.1, 1)
    assert with_expense((a,), a) == (Expense("rounds", 1.0, 0.1, 6),)
    assert with_expense((a,), b) == (a, b)
    assert with_expense((a,), Expense("rounds", 2.0, 0.1, 0)) == (a,)


@pytest.mark.slow
def test_the_bill_of_a_fit_holds_preprocessing_and_every_round():
    model = private().fit(X, Y, client_ids=IDS)
    lines = [(e["what"], e["noise_multiplier"], e["sampling_rate"], e["times"]) for e in model.privacy_bill_]
    assert lines == [("preprocessing", 4.0 * MOMENTS_NOISE, 1.0, 1), ("training rounds", 4.0, 0.5, 3)]
    assert model.epsilon_ == pytest.approx(epsilon(model._fitted.account.bill, K**-1.1))
    assert default_delta(K) == K**-1.1
    assert model.set_params(dp_delta=1e-6).epsilon_ > epsilon(model._fitted.account.bill, K**-1.1)


@pytest.mark.slow
def test_partial_fit_and_warm_starts_add_to_the_bill_and_a_new_fit_does_not():
    model = private().fit(X, Y, client_ids=IDS)
    spent = [model.epsilon_]
    for _ in range(2):
        model.partial_fit(X, Y, client_ids=IDS)
        spent.append(model.epsilon_)
    model.set_params(warm_start=True).fit(X, Y, client_ids=IDS)
    spent.append(model.epsilon_)
    assert sorted(set(spent)) == spent and model.privacy_bill_[1]["times"] == 8
    model.set_params(warm_start=False).fit(X, Y, client_ids=IDS)
    assert model.epsilon_ == spent[0]


@pytest.mark.slow
def test_saved_and_pickled_models_keep_the_bill(tmp_path):
    model = private(dp_target_quantile=0.5).fit(X, Y, client_ids=IDS)
    model.save(tmp_path / "model.npz")
    for copy in (FDRMFLTransformer.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert copy.privacy_bill_ == model.privacy_bill_ and copy.epsilon_ == model.epsilon_
        assert copy._fitted.account == model._fitted.account
        assert copy.federation_log_ == model.federation_log_ and copy.federation_log_.by_client() == []
        copy.partial_fit(X, Y, client_ids=IDS)
        assert copy.epsilon_ > model.epsilon_


def test_an_adaptive_clip_goes_on_where_it_stood(seeded):
    model = private(dp_target_quantile=0.5, dp_clip_norm=50.0, dp_noise_multiplier=1.0).fit(X, Y, client_ids=IDS)
    before = model._fitted.account.clip_norm
    assert before < model.history_["clip_norm"][-1] < 50.0
    model.partial_fit(X, Y, client_ids=IDS)
    assert model.history_["clip_norm"][-1] == before


def test_without_noise_or_without_privacy_epsilon_is_infinite():
    assert small().fit(X, Y, client_ids=IDS).epsilon_ == inf
    assert small().fit(X, Y, client_ids=IDS).privacy_bill_ == []
    assert private(dp_noise_multiplier=0.0).fit(X, Y, client_ids=IDS).epsilon_ == inf


def test_a_missing_accountant_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(accountant, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"dp-accounting, which is not installed; run: pip install .*dp-accounting"):
        private().fit(X, Y, client_ids=IDS)
    small().fit(X, Y, client_ids=IDS)


# -------------------------------------------------------------------------------------------------- off


def test_off_is_the_same_bits_as_without():
    plain = small().fit(X, Y, client_ids=IDS)
    off = small(dp_noise_multiplier=0.0, dp_clip_norm=inf, dp_bounds=BOUNDS, dp_delta=1e-5).fit(X, Y, client_ids=IDS)
    np.testing.assert_array_equal(plain._fitted.models, off._fitted.models)
    assert all(np.array_equal(off.history_[name], values, equal_nan=True) for name, values in plain.history_.items())
    assert plain.federation_log_ == off.federation_log_


def test_everybody_without_noise_and_with_a_wide_clip_is_federated_averaging():
    """Clients of one full batch and of one size: neither the order of rows nor their number matters."""
    wide = {"preprocessing": None, "batch_size": 5, "mi_weight": 0.0}
    clipped_only = small(**wide, dp_clip_norm=1e6, dp_bounds=BOUNDS).fit(X, Y, client_ids=IDS)
    plain = small(**wide).fit(X, Y, client_ids=IDS)
    assert clipped_only._fitted.target.scale[0] == pytest.approx(plain._fitted.target.scale[0], rel=1e-9)
    np.testing.assert_allclose(clipped_only.predict(X), plain.predict(X), atol=1e-5)
    narrow = small(**wide, dp_clip_norm=1e-3, dp_bounds=BOUNDS).fit(X, Y, client_ids=IDS)
    assert np.abs(narrow.predict(X) - plain.predict(X)).max() > 0.005


# ------------------------------------------------------------------------------------- noisy preprocessing


def test_without_noise_moments_are_means_of_the_clients_means_within_the_bounds():
    federation = simulate(X, Y, np.repeat(np.arange(K), 5))
    bounds = {"x": Bounds(np.full(P, -3.0), np.full(P, 5.0)), "y": Bounds(np.array([-9.0]), np.array([9.0]))}
    found = standardisations(federation, {"x": Block(np.arange(P)), "y": Block(None)}, bounds, K, 0.0)
    inside = np.clip(X, -3, 5)
    np.testing.assert_allclose(found["x"].mean, inside.mean(0), atol=1e-12)
    np.testing.assert_allclose(found["x"].scale, inside.std(0), rtol=1e-9)
    np.testing.assert_allclose([found["y"].mean[0], found["y"].scale[0]], [Y.mean(), Y.std()], rtol=1e-9)


def test_no_client_moves_the_moments_by_more_than_their_clip():
    wild = X.copy()
    wild[:5] = 1e9
    query = ClippedMoments((Block(np.arange(P)),), (Bounds(np.full(P, -1.0), np.full(P, 1.0)),), 0.8)
    for client in simulate(wild, Y, np.repeat(np.arange(K), 5)).clients:
        assert np.linalg.norm(query(client).values) <= 0.8 + 1e-12
    assert query.subset is EVERYTHING


def test_moments_get_the_noise_that_is_billed(seeded):
    P = 2000
    federation = simulate(np.zeros((6, P)), None, np.arange(6))
    bounds = {"x": Bounds(np.full(P, -1.0), np.full(P, 1.0))}
    found = standardisations(federation, {"x": Block(np.arange(P))}, bounds, 6000, 3.0)
    deviation = 3.0 * LENGTH_OF_COLUMN * sqrt(P) / 6000
    assert abs(found["x"].mean.std() / deviation - 1) < 0.1


# ------------------------------------------------------------------------------- nothing unpaid is recorded


def written(model):
    """All that is kept of a model, but for its numbers of weights."""
    buffer = io.BytesIO()
    pickle.dump(model, buffer)
    return buffer.getvalue()


def test_neighbours_leave_the_same_but_for_what_has_noise(seeded):
    """One client is other people's rows, of other number and name: only noisy numbers may tell."""
    other_ids = np.concatenate([np.repeat("a very long and telling name", 3), IDS[5:]])
    other_X, other_y = np.concatenate([X[:3] + 1, X[5:]]), np.concatenate([Y[:3] - 1, Y[5:]])
    here = private(dp_target_quantile=0.5).fit(X, Y, client_ids=IDS)
    there = private(dp_target_quantile=0.5).fit(other_X, other_y, client_ids=other_ids)
    assert here.federation_log_ == there.federation_log_
    assert here.clients_.tolist() == there.clients_.tolist() == list(range(K))
    assert set(here.history_) == {"clip_norm"}
    for model in (here, there):
        assert b"site" not in written(model) and b"telling" not in written(model)
        for name in ("n_samples_per_client_", "component_variance_"):
            with pytest.raises(AttributeError, match="with privacy it is not recorded"):
                getattr(model, name)
    numbers = {"models", "weights", "table", "target", "history", "account", "network", "ledger", "network_spec"}
    for name in vars(here._fitted).keys() - numbers:
        a, b = getattr(here._fitted, name), getattr(there._fitted, name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, name


@pytest.mark.slow
def test_clients_named_in_a_column_are_as_private_as_by_keyword(monkeypatch):
    """The column is no feature: it has no moments and nothing of it is kept; bounds count it, as all of X does."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    labelled = frame.copy()
    labelled.insert(1, "whose", IDS)
    low = np.array([-4.0, -3.0, -5.0, -2.0])

    def fit(model, table, **more):
        monkeypatch.setattr(noise, "system_bytes", np.random.default_rng(7).bytes)
        monkeypatch.setattr(_privacy, "seed_of", lambda random_state: 5)
        return model.fit(table, Y, **more)

    expected = fit(private(dp_bounds=BOUNDS | {"X": (low, -low)}), frame, client_ids=IDS)
    bounds = BOUNDS | {"X": (np.insert(low, 1, -99.0), np.insert(-low, 1, 99.0))}
    model = fit(private(client_column="whose", dp_bounds=bounds), labelled)
    np.testing.assert_array_equal(model._fitted.models, expected._fitted.models)
    assert model.federation_log_ == expected.federation_log_
    assert model.epsilon_ == expected.epsilon_ < inf
    assert model.clients_.tolist() == list(range(K))
    assert b"site" not in written(model)
    assert model.n_features_in_ == P + 1
    for table in (labelled, frame):
        np.testing.assert_array_equal(model.predict(table), expected.predict(frame))


def test_how_many_took_part_is_not_told(seeded):
    log = private(n_rounds=20).fit(X, Y, client_ids=IDS).federation_log_
    sent = [m for m in log if m.what == "clipped updates"]
    assert [m.clients for m in sent] == [6] * 20 and [m.round for m in sent] == list(range(1, 21))
    assert {m.what: m.seen for m in log} == {
        "clipped moments": "noisy total",
        "global models": "",
        "clipped updates": "noisy total",
    }


def test_a_round_without_anybody_still_moves_by_noise():
    model = private(participation=1e-9).fit(X, Y, client_ids=IDS)
    assert model.n_rounds_ == 3 and len(model.history_["clip_norm"]) == 3


def test_clients_draw_their_batches_from_the_system_so_that_places_tell_nothing():
    """Without noise and with everybody there, two fits differ by the order of rows alone."""
    quiet = {"dp_noise_multiplier": 0.0, "participation": 1.0, "batch_size": 2}
    first, second = (private(**quiet).fit(X, Y, client_ids=IDS)._fitted.models[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_verbose_prints_no_losses(capsys):
    private(verbose=2).fit(X, Y, client_ids=IDS)
    out = capsys.readouterr().out
    assert "loss" not in out and out.count("clip 0.5") == 3


def test_diagnose_says_that_there_is_nothing_to_judge():
    assert "with privacy, losses are not recorded" in repr(private().fit(X, Y, client_ids=IDS).diagnose())


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dp_clip_norm": inf}, r"relative to dp_clip_norm, which is inf; set dp_clip_norm"),
        ({"preprocessing": "whiten"}, r'preprocessing=.whiten. asks .* use preprocessing="standardize"'),
        ({"early_stopping": True}, r"early_stopping=True asks .* use early_stopping=False"),
        (
            {"dp_bounds": {"X": (0, 1)}},
            r"standardising y with privacy needs public bounds, but dp_bounds is {.*}; pass",
        ),
        ({"dp_bounds": None}, r"standardising X with privacy .* or preprocessing=None"),
        ({"dp_bounds": {"X": (0, 1), "y": (1, 1)}}, r"pass finite numbers, each low below its high"),
        ({"dp_bounds": {"X": ([0, 1], 2), "y": (0, 1)}}, r"a number or one for each of the 4 columns"),
    ],
)
def test_what_privacy_cannot_pay_for_is_refused_with_the_remedy(parameters, message):
    with pytest.raises(ValueError, match=message):
        private(**parameters).fit(X, Y, client_ids=IDS)


def test_what_rows_would_tell_without_noise_is_refused():
    with pytest.raises(ValueError, match="there is one client; pass client_ids"):
        private().fit(X, Y)
    frame = pd.DataFrame({"n": X[:, 0], "kind": pd.Categorical(np.where(Y > 0, "yes", "no"))})
    with pytest.raises(ValueError, match=r"discrete columns .* leave them out"):
        private().fit(frame, Y, client_ids=IDS)
    holes = X.copy()
    holes[:2, 2:] = np.nan
    with pytest.raises(ValueError, match=r"2 rows lack a modality.* fill them in"):
        private(modalities={"a": [0, 1], "b": [2, 3]}).fit(holes, Y, client_ids=IDS)
    with pytest.raises(ValueError, match="dp_target_quantile=0.5 needs a finite clip"):
        small(dp_target_quantile=0.5).fit(X, Y, client_ids=IDS)


def test_a_model_is_private_all_along_or_never():
    with pytest.raises(ValueError, match="trained not private, but privacy is on now; set dp_noise_multiplier"):
        small(preprocessing="standardize").fit(X, Y, client_ids=IDS).set_params(**PRIVATE).partial_fit(X, Y, IDS)
    model = private().fit(X, Y, client_ids=IDS).set_params(dp_noise_multiplier=0.0, dp_clip_norm=inf)
    with pytest.raises(ValueError, match="trained private, but privacy is off now"):
        model.partial_fit(X, Y, client_ids=IDS)


def test_every_fit_of_a_search_has_its_own_bill():
    bills = []

    def score(model, X, y):
        bills.append((model.epsilon_, model.privacy_bill_))
        return 0.0

    everything = np.arange(len(X))
    search = GridSearchCV(private(), {"learning_rate": [0.1, 0.01]}, cv=[(everything, everything)], scoring=score)
    search.fit(X, Y, client_ids=IDS)
    alone = private().fit(X, Y, client_ids=IDS)
    assert bills == [(alone.epsilon_, alone.privacy_bill_)] * 2
    assert search.best_estimator_.epsilon_ == alone.epsilon_


def test_several_modalities_without_holes_and_no_preprocessing_are_served():
    model = private(modalities={"a": [0, 1], "b": [2, 3]}).fit(X, Y, client_ids=IDS)
    assert "rows by modality" not in {m.what for m in model.federation_log_}
    model = private(preprocessing=None, dp_bounds={"y": (-4, 4)}).fit(X, Y, client_ids=IDS)
    assert np.isfinite(model.predict(X)).all() and model.transform(X).shape == (len(X), 2)


# ------------------------------------------------------------------------------------------------ an audit


@pytest.mark.slow
def test_an_audit_stays_below_the_claim_and_catches_noise_that_is_too_small(seeded, monkeypatch):
    """A canary in the rounds of every fit, whose bound is far from the claim where noise is right."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    audit = importlib.import_module("audit")
    sigma = 4.0
    claim = epsilon((Expense("rounds", sigma, audit.RATE, audit.N_ROUNDS),), audit.DELTA)
    assert 0.0 <= audit.audit(sigma, 120) < claim < 2.2
    assert audit.audit(0.1 * sigma, 120, sigma) > claim


def test_a_round_that_nobody_came_to_looks_like_any_other_in_the_log(monkeypatch):
    empty = iter([[], [0, 3], []])
    monkeypatch.setattr(noise, "poisson_sample", lambda n, rate: np.array(next(empty), dtype=np.int64))
    log = private().fit(X, Y, client_ids=IDS).federation_log_
    rounds = [[m._replace(round=0) for m in log if m.round == t] for t in (1, 2, 3)]
    kinds = [[m.what for m in messages if m.what in ("global models", "clipped updates")] for messages in rounds]
    assert kinds == [["global models", "clipped updates"]] * 3
    assert {m.clients for messages in rounds for m in messages} == {6}
