"""
Small sets, noisy targets: the mixture
======================================

**To see:** on 60 rows with a nearly linear relation a network alone fits noise, and a ridge regression is better. The
default lets the clients find that out on rows that each holds out, and gives the weight to linear members. On
Tecator, where networks are right, it gives the weight to them.
"""

# %%
# scikit-learn's diabetes data, 60 of its 442 rows to train on, and Tecator, 160 of its 215.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupShuffleSplit

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.inspection import MembersDisplay

tecator = load_tecator("fat")
diabetes = load_diabetes()
data = {
    "diabetes, 60 rows": (diabetes.data, diabetes.target, np.arange(442), 60),
    "Tecator fat, 160 samples": (tecator.data, tecator.target, tecator.groups, 160),
}
models = {
    "tuning=None": FDRMFLTransformer(tuning=None, random_state=0),
    "default": FDRMFLTransformer(random_state=0),
    "RidgeCV, rows pooled": RidgeCV(np.logspace(-6, 3, 10)),
}

# %%
errors = {}
for case, (X, y, groups, n_train) in data.items():
    for train, test in GroupShuffleSplit(3, train_size=n_train, random_state=0).split(X, groups=groups):
        for name, model in models.items():
            extra = {} if name.startswith("Ridge") else {"client_ids": make_client_ids(y[train], 3, random_state=0)}
            model.fit(X[train], y[train], **extra)
            rmse = np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2))
            errors.setdefault((case, name), []).append(rmse)
    print(case, models["default"].members_, sep="\n", end="\n\n")

# %%
# Points are three draws of the training rows.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for ax, case in zip(axes, data, strict=True):
    for name, colour in zip(models, ("#56B4E9", "#0072B2", "0.6"), strict=True):
        ax.barh(name, np.mean(errors[case, name]), color=colour)
        ax.plot(errors[case, name], [name] * 3, "k.", markersize=5)
    ax.invert_yaxis()
    ax.set_title(case)
    ax.set_xlabel("RMSE on other rows")
plt.show()

# %%
# What the default is made of on Tecator: each member's error on rows held out, its weight beside the name.

fig, ax = plt.subplots(figsize=(6.5, 5.5), layout="constrained")
MembersDisplay.from_estimator(models["default"], ax=ax)
plt.show()
