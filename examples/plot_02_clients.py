"""
What clients gain by working together
=====================================

**To see:** each of three sites, training on its own third of the rows, errs about half as much again as the three
do together; together they are nearly as good as if all rows lay in one place. No row left its site for it.
"""

# %%
# One label a row says whose row it is.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
sites = np.array(["north", "south", "west"])[make_client_ids(y, 3, random_state=0)]

# %%
# Without ``client_ids`` all rows belong to one client, which is central training.

squares = {name: np.zeros(len(y)) for name in ("alone", "together", "pooled")}
for train, test in GroupKFold(5, shuffle=True, random_state=0).split(X, groups=groups):
    together = FDRMFLTransformer(random_state=0).fit(X[train], y[train], client_ids=sites[train])
    pooled = FDRMFLTransformer(random_state=0).fit(X[train], y[train])
    squares["together"][test] = (together.predict(X[test]) - y[test]) ** 2
    squares["pooled"][test] = (pooled.predict(X[test]) - y[test]) ** 2
    for site in np.unique(sites):
        own = train[sites[train] == site]
        alone = FDRMFLTransformer(random_state=0).fit(X[own], y[own])
        squares["alone"][test] += (alone.predict(X[test]) - y[test]) ** 2 / 3

# %%
# Errors on rows that nobody trained on.

errors = {name: np.sqrt(values.mean()) for name, values in squares.items()}
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
bars = ax.barh(list(errors), list(errors.values()), color=["0.6", "#0072B2", "#56B4E9"])
ax.bar_label(bars, fmt="%.2f", padding=3)
ax.set_xlabel("RMSE of fat, %")
ax.margins(x=0.1)
plt.show()
