"""The terms against numbers known from elsewhere: a trained critic against quadrature and the Gaussian mutual
information, divergences against integrals, one federated round worked out by hand."""

from math import exp, log, log1p

import numpy as np
import pytest
import torch
from helpers import ENGINES, FLOAT, federate, make_network, make_run
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from skfdrmfl import FDRMFLTransformer, losses
from skfdrmfl.data.partition import Partition
from skfdrmfl.engines.rows import Run
from skfdrmfl.method.equations import optimizers as optimizer
from skfdrmfl.protocol.plan import Start, cosine_decay

# ------------------------------------------------------------------------------- mutual information


def twice_jsd(rho):
    """2 JSD of correlated standard Gaussians and the product of their marginals, by a sum over a grid."""
    axis = np.linspace(-9, 9, 361)  # sums of analytic functions: more points change no digit
    grid = np.stack(np.meshgrid(axis, axis), -1)
    joint = multivariate_normal(cov=[[1, rho], [rho, 1]]).pdf(grid)
    product = norm.pdf(grid).prod(-1)
    middle = (joint + product) / 2
    divergences = [np.where(p > 0, p * np.log(np.where(p > 0, p / middle, 1.0)), 0.0) for p in (joint, product)]
    return sum(d.sum() for d in divergences) * (axis[1] - axis[0]) ** 2


def gaussian_information(rho):
    return -0.5 * log1p(-(rho**2))


def pairs(rho, n, seed):
    """z (1, n, 1), and y (1, 2 n, 1): n values that correlate with z, then n that do not."""
    z, noise, other = np.random.default_rng(seed).standard_normal((3, 1, n, 1))
    y = np.concatenate([rho * z + np.sqrt(1 - rho**2) * noise, other], 1)
    return torch.as_tensor(z, dtype=torch.float32), torch.as_tensor(y, dtype=torch.float32)


def trained_critic(rho, n_steps=600, batch=512, learning_rate=0.01):
    """The package's own critic, trained on fresh pairs with its own gradient, optimiser and schedule."""
    network = make_network((1,), c=1)
    first = network.initial(0, {"a": 1.0})
    w = torch.from_numpy(network.layout.pack(first, dtype=np.float32))[None]
    moments, step = torch.zeros(2, *w.shape), torch.zeros(())
    for i in range(n_steps):
        z, y = pairs(rho, batch, [1, i])
        # Marginal pairs as in training: y shifted cyclically inside the batch.
        y = y[:, :batch]
        t = network.criticise(network.layout.views(w.requires_grad_()), z, torch.cat((y, y.roll(-1, 1)), 1))
        (gradient,) = torch.autograd.grad(-losses.jensen_shannon(*t).mean(), w)
        w = w.detach()
        optimizer.adam_step_(w, gradient, moments[0], moments[1], step, learning_rate * cosine_decay(i, n_steps), 0.0)
    return network, network.layout.views(w)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [*(pytest.param(rho, marks=pytest.mark.slow) for rho in (0.3, 0.6, 0.9)), -0.8])
def test_a_trained_critic_reaches_twice_jsd_and_the_gaussian_mutual_information_on_new_pairs(rho):
    network, views = trained_critic(rho)
    n = 100_000
    t_joint, t_marginal = network.criticise(views, *pairs(rho, n, 2))
    j, nwj = (f(t_joint, t_marginal)[0] for f in (losses.jensen_shannon, losses.nwj))
    j_error, nwj_error = (float(values.std()) / n**0.5 for values in (j, nwj))
    assert float(j.mean()) + 2 * log(2) == pytest.approx(twice_jsd(rho), rel=0.1, abs=3 * j_error)
    information = gaussian_information(rho)
    assert float(nwj.mean()) == pytest.approx(information, abs=0.1 * information + 3 * nwj_error)
    # J is no tight bound of the information, and the test can tell the two apart.
    assert twice_jsd(rho) < 0.6 * information


def test_an_untrained_critic_is_far_from_either():
    network, views = trained_critic(0.9, n_steps=0)
    t_joint, t_marginal = network.criticise(views, *pairs(0.9, 10_000, 2))
    assert losses.jensen_shannon(t_joint, t_marginal).mean() + 2 * log(2) < 0.3 * twice_jsd(0.9)
    assert losses.nwj(t_joint, t_marginal).mean() < 0.3 * gaussian_information(0.9)


def test_the_critic_inside_a_fit_finds_the_gaussian_mutual_information():
    rho, n = 0.8, 600
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 4))
    y = rho * X[:, 0] + np.sqrt(1 - rho**2) * rng.standard_normal(n)
    model = FDRMFLTransformer(n_rounds=25, random_state=0, tuning=None).fit(X, y, client_ids=np.arange(n) % 3)
    history = model.history_
    # Means over batches of the training rows: the sample's own information, not quite the distribution's.
    assert history["mi_nwj"][-1] == pytest.approx(gaussian_information(rho), rel=0.2)
    assert 2 * log(2) - history["mi"][-1] == pytest.approx(twice_jsd(rho), rel=0.2)


# ------------------------------------------------------------------------------------- divergences


@pytest.mark.parametrize(("a", "b", "sigma"), [(0.0, 1.5, 1.0), (-0.7, 0.4, 0.5), (2.0, -1.0, 2.0)])
def test_symmetric_kl_is_the_integral_over_both_densities(a, b, sigma):
    p, q = norm(a, sigma), norm(b, sigma)

    def integrand(x):
        return (p.pdf(x) - q.pdf(x)) * (p.logpdf(x) - q.logpdf(x))

    integral, _ = quad(integrand, min(a, b) - 9 * sigma, max(a, b) + 9 * sigma)
    value = losses.symmetric_kl(torch.tensor([[a]], dtype=FLOAT), torch.tensor([[b]], dtype=FLOAT), sigma)
    assert value.item() == pytest.approx(integral, rel=1e-8)
    assert value.item() == pytest.approx(((a - b) / sigma) ** 2, rel=1e-12)


def test_modality_alignment_of_three_codes_by_hand():
    # Squared distances 9 + 16 = 25, 1 and 4 + 16 = 20; their mean is 46 / 3.
    codes = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]]], dtype=FLOAT)
    assert losses.modality_alignment(codes).item() == pytest.approx(46 / 3, rel=1e-12)


def test_info_nce_by_hand():
    # z along (3, 4): cosines 0.6 with the positive, 0.8 and -0.6 with the negatives; tau = 0.2.
    z = torch.tensor([[[3.0, 4.0]]], dtype=FLOAT)
    references = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]]], dtype=FLOAT)
    expected = log(exp(3) + exp(4) + exp(-3)) - 3
    assert losses.info_nce(z, references, 0.2).item() == pytest.approx(expected, rel=1e-12)


# ------------------------------------------------------------------------------------ one round of FedAvg


@pytest.mark.parametrize("engine", ENGINES)
def test_federated_averaging_by_hand(engine):
    # All weights 0: y_hat is the head's bias b alone, and only b has a gradient, 2 (b - mean y). Adam's first
    # step after a fresh start is the rate times the gradient's sign. Three rows with mean y = 2 pull up, one
    # with y = -1 pulls down: b = 0.01 (3/4 - 1/4) = 0.005 after a round, twice that after two.
    network = make_network((2,))
    run = make_run(network, [1], mi_weight=0.0, kl_weight=0.0, contrastive_weight=0.0, weight_decay=0.0)
    x = torch.tensor([[1.0, 2.0], [0.5, -1.0], [0.0, 3.0], [1.0, 1.0]], dtype=FLOAT)
    y = torch.tensor([[1.0], [2.0], [-1.0], [3.0]], dtype=FLOAT)
    partition = Partition.of_codes(np.array([0, 0, 1, 0]))
    run = Run(x, y, partition, run.settings, 0, Start(torch.zeros(network.layout.size, dtype=FLOAT)))
    records = federate(engine, network, [run], (1.0, 1.0), batch_size=4, n_epochs=1)
    for t, record in enumerate(records, 1):
        views = network.layout.views(record.state.weights)
        # Adam's epsilon keeps its first step a few parts in a billion short of the rate.
        assert views["head.bias0"].item() == pytest.approx(0.005 * t, rel=1e-7)
        assert all(not view.any() for name, view in views.items() if name != "head.bias0")
    # Before any step of the first round, with b = 0: means of y^2.
    np.testing.assert_allclose(records[0].losses[:, 0], [(1 + 4 + 9) / 3, 1.0], rtol=1e-12)
    # Both clients go 0.01 their own way, the average half of that: (0.01 / 0.005)^2 - 1 = 3.
    np.testing.assert_allclose(records[0].losses[:, -1], [3.0, 3.0], rtol=1e-6)
