"""
A randomized search: how much to shrink
=======================================

**To see:** the shrinkage of the whitening matters more than any other setting of one network on spectra. Too much
hides what predicts y, too little lets noise in; from 1e-4 to 1e-3 there is a floor, and that of the network alone,
2e-4, lies on it.
"""

# %%
# Sixteen draws from a log-uniform distribution.

import matplotlib.pyplot as plt
from scipy.stats import loguniform
from sklearn.model_selection import GroupKFold, RandomizedSearchCV

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
client_ids = make_client_ids(y, 3, random_state=0)

search = RandomizedSearchCV(
    FDRMFLTransformer(n_rounds=30, random_state=0, tuning=None),
    {"shrinkage": loguniform(1e-6, 1e-1)},
    n_iter=16,
    cv=GroupKFold(3),
    scoring="neg_root_mean_squared_error",
    random_state=0,
)
search.fit(X, y, groups=groups, client_ids=client_ids)

# %%
# Each point is a candidate; the bar goes from its best to its worst fold.

results = search.cv_results_
fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for j, parameters in enumerate(results["params"]):
    errors = [-results[f"split{k}_test_score"][j] for k in range(3)]
    ax.plot([parameters["shrinkage"]] * 2, [min(errors), max(errors)], color="#56B4E9")
    ax.plot(parameters["shrinkage"], -results["mean_test_score"][j], "o", color="#0072B2")
ax.axvline(2e-4, color="0.7", linestyle="--", label="default")
ax.set_xscale("log")
ax.set_yscale("log")
ax.set_xlabel("shrinkage")
ax.set_ylabel("RMSE of fat, %")
ax.legend()
plt.show()
