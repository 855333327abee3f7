"""
Clients unlike each other, repaired
===================================

**To see:** where each client holds one slice of the sorted y (lean meat here, fat meat there), federated averaging
loses accuracy. SCAFFOLD with one local epoch, and full gradients (``"fedsgd"``), are as good as training on the
pooled rows, for ten times the rounds. The default, a mixture, has such a network among its members where clients are
unlike each other; here each algorithm trains one network alone.
"""

# %%
# Five clients; client 0 holds the leanest fifth, client 4 the fattest.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
client_ids = make_client_ids(y, 5, "quantile")
splits = list(GroupShuffleSplit(3, test_size=0.2, random_state=0).split(X, groups=groups))

settings = {
    "pooled rows": {},
    "fedavg, 60 rounds": {},
    "scaffold, 600 rounds": {"algorithm": "scaffold", "local_epochs": 1, "n_rounds": 600},
    "fedsgd, 600 rounds": {"algorithm": "fedsgd", "n_rounds": 600, "weight_decay": 0.1},
}
errors = {}
for name, parameters in settings.items():
    errors[name] = []
    for train, test in splits:
        ids = None if name == "pooled rows" else client_ids[train]
        model = FDRMFLTransformer(random_state=0, tuning=None, **parameters).fit(X[train], y[train], client_ids=ids)
        errors[name].append(np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2)))

# %%
# Three draws of test rows; the bar is their mean.

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained", width_ratios=(1, 1.3))
left.hist([y[client_ids == k] for k in range(5)], bins=30, stacked=True)
left.set_xlabel("fat, %; a colour a client")
left.set_ylabel("rows")
right.barh(list(errors), [np.mean(e) for e in errors.values()], color=["0.6", "#D55E00", "#0072B2", "#0072B2"])
for name, values in errors.items():
    right.plot(values, [name] * len(values), "k.", markersize=5)
right.invert_yaxis()
right.set_xlabel("RMSE of fat on test rows, %")
plt.show()
