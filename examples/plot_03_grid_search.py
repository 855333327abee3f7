"""
A grid search in one pass
=========================

**To see:** the error over a grid of learning rates and decays, and that ``VectorizedGridSearchCV``, which trains
all candidates, folds and clients at once, gives the scores of ``GridSearchCV`` to the last bit, in less time.
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
from skfdrmfl.model_selection import VectorizedGridSearchCV

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
client_ids = make_client_ids(y, 3, random_state=0)

pipeline = Pipeline([("reduce", FDRMFLTransformer(n_rounds=30, random_state=0)), ("ridge", Ridge(1e-3))])
grid = {"reduce__learning_rate": [0.003, 0.01, 0.03], "reduce__weight_decay": [0.1, 0.3, 1.0]}

# %%
# The same search twice.

scores, seconds = {}, {}
for search_class in (GridSearchCV, VectorizedGridSearchCV):
    search = search_class(pipeline, grid, cv=GroupKFold(3), scoring="neg_root_mean_squared_error", refit=False)
    start = time.perf_counter()
    search.fit(X, y, groups=groups, reduce__client_ids=client_ids, reduce__groups=groups)
    seconds[search_class.__name__] = time.perf_counter() - start
    scores[search_class.__name__] = search.cv_results_["mean_test_score"]
print({name: f"{s:.1f} s" for name, s in seconds.items()})
print("equal scores:", np.array_equal(*scores.values()))

# %%
# The error of each candidate; the best is framed.

errors = -scores["VectorizedGridSearchCV"].reshape(3, 3)
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
