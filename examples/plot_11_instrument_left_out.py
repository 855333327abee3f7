"""
An instrument that trained nothing
==================================

**To see:** a network that whitens, as it does by default, is exact on instruments it knows and several times worse on
one it has not met. Behind SNV, with columns standardised instead of whitened, it is less exact at home and carries
over. Whitening enlarges directions of small variance, and that is where instruments differ.

The instruments are made up: Tecator has one. Each fourth of its samples is read off with a wavelength scale of its
own, a few nanometres off.
"""

# %%
# One instrument is left out at a time; the others are the clients.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator

tecator = load_tecator("fat")
y, groups = tecator.target, tecator.groups
instrument = groups % 4  # repeats of a sample on one instrument
nm_off = np.array([0.0, 2.0, -2.0, 4.0])[instrument]
nm = tecator.wavelengths
X = np.array([np.interp(nm + off, nm, spectrum) for off, spectrum in zip(nm_off, tecator.data, strict=True)])

models = {
    "whitened": FDRMFLTransformer(tuning=None, random_state=0),
    "SNV, whitened": FDRMFLTransformer(tuning=None, pretreatment="snv", random_state=0),
    "SNV, standardised": FDRMFLTransformer(
        tuning=None, pretreatment="snv", preprocessing="standardize", random_state=0
    ),
}

# %%
# The same models twice: test rows of known instruments, and of one that nobody trained on.

errors = {}
for name, model in models.items():
    for case, splits in {
        "known instruments": GroupKFold(4, shuffle=True, random_state=0).split(X, groups=groups),
        "an unknown one": LeaveOneGroupOut().split(X, groups=instrument),
    }.items():
        squares = []
        for train, test in splits:
            model.fit(X[train], y[train], client_ids=instrument[train])
            squares.extend((model.predict(X[test]) - y[test]) ** 2)
        errors[name, case] = np.sqrt(np.mean(squares))

# %%
fig, ax = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
for shift, colour, case in ((-0.2, "0.6", "known instruments"), (0.2, "#0072B2", "an unknown one")):
    values = [errors[name, case] for name in models]
    ax.bar_label(ax.bar(np.arange(3) + shift, values, 0.38, color=colour, label=case), fmt="%.2f", padding=2)
ax.axhline(y.std(), color="k", linestyle=":", label="mean predictor")
ax.set_xticks(range(3), list(models))
ax.set_yscale("log")
ax.set_ylabel("RMSE of fat, %")
ax.legend()
plt.show()
