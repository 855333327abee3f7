"""
PCA against FDRMFL in the same Pipeline
=======================================

**To see:** two features found by PCA leave the fat content of meat nearly unpredicted; two features learned by
FDRMFL, in the same slot of the same Pipeline, predict it within a percentage point. PCA looks for what varies most
in a spectrum, which is scattered light; FDRMFL for what goes with y.
"""

# %%
# Tecator: near-infrared spectra of 215 meat samples. Three sites hold them; here the rows are dealt at random. Some
# samples were measured twice, so folds keep ``groups`` together.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline

from skfdrmfl import FDRMFLTransformer, IgnoreClients
from skfdrmfl.datasets import load_tecator, make_client_ids

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
client_ids = make_client_ids(y, 3, random_state=0)

# %%
# ``client_ids`` goes to ``fit`` alone. ``IgnoreClients`` lets a transformer that knows no clients stand in the same
# slot.

reducers = {"PCA": IgnoreClients(PCA(2)), "FDRMFL": FDRMFLTransformer(2, random_state=0)}
predicted = {}
for name, reducer in reducers.items():
    pipeline = Pipeline([("reduce", reducer), ("ridge", RidgeCV(np.logspace(-6, 3, 10)))])
    predicted[name] = np.empty_like(y)
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(X, groups=groups):
        pipeline.fit(X[train], y[train], reduce__client_ids=client_ids[train])
        predicted[name][test] = pipeline.predict(X[test])

# %%
# Every sample is predicted by a model that has not seen it.

fig, axes = plt.subplots(1, 2, figsize=(8, 4), sharex=True, sharey=True, layout="constrained")
for ax, (name, y_hat) in zip(axes, predicted.items(), strict=True):
    rmse = np.sqrt(np.mean((y_hat - y) ** 2))
    ax.plot([0, 60], [0, 60], color="0.7")
    ax.scatter(y, y_hat, s=12, c=client_ids, cmap="viridis")
    ax.set_title(f"{name}, 2 components: RMSE {rmse:.2f} %")
    ax.set_xlabel("fat measured, %")
axes[0].set_ylabel("fat predicted, %")
plt.show()
