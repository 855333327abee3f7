"""
Attackers among the clients
===========================

**To see:** three of ten clients report labels turned upside down. The plain mean follows them; a rule that gives
each client one vote, and follows no extreme, hardly notices. Without attackers the rule costs next to nothing.
"""

# %%
# Ten clients with rows dealt at random; what three of them say of fat is mirrored about the mean.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
client_ids = make_client_ids(y, 10, random_state=0)
mirrored = np.where(client_ids < 3, 2 * y.mean() - y, y)
splits = list(GroupShuffleSplit(3, test_size=0.2, random_state=0).split(X, groups=groups))

rules = {
    "mean": {},
    "median behind\nlengths+nnm": {
        "aggregation": "median",
        "preaggregation": "lengths+nnm",
        "n_byzantine": 3,
        "n_rounds": 90,
    },
}
errors = {}
for name, parameters in rules.items():
    for case, labels in {"all honest": y, "3 of 10 lie": mirrored}.items():
        errors[name, case] = []
        for train, test in splits:
            model = FDRMFLTransformer(random_state=0, tuning=None, **parameters)
            model.fit(X[train], labels[train], client_ids=client_ids[train])
            errors[name, case].append(np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2)))

# %%
# Test rows have their true labels. Points are three draws of them.

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for shift, colour, case in ((-0.2, "#009E73", "all honest"), (0.2, "#D55E00", "3 of 10 lie")):
    means = [np.mean(errors[name, case]) for name in rules]
    ax.bar_label(ax.bar(np.arange(2) + shift, means, 0.38, color=colour, label=case), fmt="%.2f", padding=12)
    for j, name in enumerate(rules):
        ax.plot([j + shift] * 3, errors[name, case], "k.", markersize=5)
ax.set_xticks(range(2), list(rules))
ax.set_ylabel("RMSE of fat on test rows, %")
ax.margins(y=0.15)
ax.legend()
plt.show()
