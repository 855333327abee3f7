"""
A grid search
=============

**To see:** the error of one network over a grid of learning rates and decays, by scikit-learn's own search. Fits of
the same rows prepare them once: of a fold's nine candidates eight find whitened spectra.
"""

# %%
# A Pipeline, a grid of nine candidates, three folds. ``client_ids`` is given once.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
client_ids = make_client_ids(y, 3, random_state=0)

pipeline = Pipeline([("reduce", FDRMFLTransformer(n_rounds=30, random_state=0, tuning=None)), ("ridge", Ridge(1e-3))])
grid = {"reduce__learning_rate": [0.003, 0.01, 0.03], "reduce__weight_decay": [0.1, 0.3, 1.0]}

search = GridSearchCV(pipeline, grid, cv=GroupKFold(3), scoring="neg_root_mean_squared_error", refit=False)
start = time.perf_counter()
search.fit(X, y, groups=groups, reduce__client_ids=client_ids, reduce__groups=groups)
print(f"27 fits in {time.perf_counter() - start:.1f} s")

# %%
# The error of each candidate; the best is framed.

errors = -search.cv_results_["mean_test_score"].reshape(3, 3)
fig, ax = plt.subplots(figsize=(5, 4), layout="constrained")
image = ax.imshow(errors, cmap="viridis_r", origin="lower")
for (i, j), error in np.ndenumerate(errors):
    best = {"bbox": {"facecolor": "white"}} if error == errors.min() else {"color": "white"}
    ax.text(j, i, f"{error:.2f}", ha="center", **best)
ax.set_xticks(range(3), grid["reduce__weight_decay"])
ax.set_yticks(range(3), grid["reduce__learning_rate"])
ax.set_xlabel("weight_decay")
ax.set_ylabel("learning_rate")
fig.colorbar(image, label="RMSE of fat, %")
plt.show()
