"""
A modality is missing
=====================

**To see:** a network of two modalities, trained as usual, is lost where one of them is absent at prediction. With
``fusion="attention"`` and ``modality_dropout`` the same rows are predicted several times better, and complete rows
a little worse.

The second modality here is the protein and water content measured in the laboratory, beside the spectrum.
"""

# %%
# A row whose columns of a modality are all NaN lacks it. Nothing is filled in.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold

from skfdrmfl import FDRMFLTransformer, stack_modalities
from skfdrmfl.datasets import load_tecator, make_client_ids

tecator = load_tecator("all")
water, y, protein = tecator.target.T
X, modalities = stack_modalities({"nir": tecator.data, "laboratory": np.column_stack([water, protein])})
groups = tecator.groups
client_ids = make_client_ids(y, 3, random_state=0)

models = {
    "default": FDRMFLTransformer(modalities=modalities, random_state=0, tuning=None),
    "attention, dropout .3": FDRMFLTransformer(
        modalities=modalities, fusion="attention", modality_dropout=0.3, random_state=0, tuning=None
    ),
}

# %%
# The same fitted models predict test rows as they are, and with one modality blanked.

errors = {}
for name, model in models.items():
    squares = {"complete": [], "without spectrum": [], "without laboratory": []}
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(X, groups=groups):
        model.fit(X[train], y[train], client_ids=client_ids[train])
        for case, blanked in zip(squares, (None, "nir", "laboratory"), strict=True):
            rows = X[test].copy()
            if blanked:
                rows[:, modalities[blanked]] = np.nan
            squares[case].extend((model.predict(rows) - y[test]) ** 2)
    errors[name] = [np.sqrt(np.mean(values)) for values in squares.values()]

# %%
fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for shift, colour, (name, values) in zip((-0.2, 0.2), ("0.6", "#0072B2"), errors.items(), strict=True):
    bars = ax.bar(np.arange(3) + shift, values, 0.38, label=name, color=colour)
    ax.bar_label(bars, fmt="%.2f", padding=2)
ax.set_xticks(range(3), list(squares))
ax.set_yscale("log")
ax.set_ylabel("RMSE of fat, %")
ax.margins(y=0.1)
ax.legend()
plt.show()
