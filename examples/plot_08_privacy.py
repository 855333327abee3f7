"""
What privacy costs
==================

**To see:** with a thousand clients, hiding whether any one of them took part, all its rows, costs about a tenth of
the error at epsilon 2 to 8, with these settings. More noise buys a smaller epsilon. With two hundred clients the
same epsilon costs far more.

The data are made up: privacy of clients takes hundreds of them. The accountant is an extra: ``pip install
".[dp]"`` in a checkout.
"""

# %%
# Clients of 20 to 50 rows of 20 columns, a little unlike each other; y is a curved function of three directions.

import matplotlib.pyplot as plt
import numpy as np

from skfdrmfl import FDRMFLTransformer


def draw(n_clients, n_test=5000, n_columns=20):
    rng = np.random.default_rng(0)
    client_ids = np.repeat(np.arange(n_clients), rng.integers(20, 51, n_clients))
    n = len(client_ids)
    shift = 0.3 * rng.standard_normal((n_clients, n_columns))
    X = rng.standard_normal((n + n_test, n_columns))
    X += shift[np.concatenate([client_ids, rng.integers(0, n_clients, n_test)])]
    a, b, c = np.linalg.qr(rng.standard_normal((n_columns, 3)))[0].T
    y = X @ a + 0.6 * np.tanh(2 * X @ b) + 0.3 * (X @ c) ** 2 + 0.35 * rng.standard_normal(len(X))
    return X[:n] / 1.1, y[:n] / 1.25, client_ids, X[n:] / 1.1, y[n:] / 1.25


# %%
# Updates are clipped, noise is added to their sum; means and scales come from noisy sums within public bounds.

common = {
    "preprocessing": "standardize",
    "hidden_layer_sizes": (16,),
    "weight_decay": 0.1,
    "contrastive_weight": 0,
    "mi_weight": 0,
    "participation": 0.1,
    "n_rounds": 200,
    "algorithm": "fedavgm",
    "server_learning_rate": 0.5,
    "random_state": 0,
}
private = {"dp_clip_norm": 0.05, "dp_bounds": {"X": (-4, 4), "y": (-4, 4)}}


def error(data, **parameters):
    """RMSE on rows of nobody, and what was spent."""
    X, y, client_ids, X_test, y_test = data
    model = FDRMFLTransformer(tuning=None, **common, **parameters).fit(X, y, client_ids=client_ids)
    return np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2)), model.epsilon_


# %%
# ``epsilon_`` is the whole bill, preprocessing included.

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for n_clients, colour in ((1000, "#0072B2"), (200, "#D55E00")):
    data = draw(n_clients)
    without, _ = error(data)
    found = [error(data, dp_noise_multiplier=multiplier, **private) for multiplier in (0.6, 1.0, 2.0, 4.0)]
    ax.plot([e for _, e in found], [rmse for rmse, _ in found], "o-", color=colour, label=f"{n_clients} clients")
    ax.axhline(without, color=colour, linestyle=":", label="the same without privacy")

ax.set_xscale("log")
ax.set_xlabel("epsilon, at delta = (number of clients) ** -1.1")
ax.set_ylabel("RMSE on rows of nobody")
ax.legend()
plt.show()
