"""
Instruments as clients, each with a gain and an offset of its own
=================================================================

**To see:** three instruments that measure the same thing on different scales cost the federated model little.
Correcting each spectrum by itself (``pretreatment="snv"``) undoes the instruments; what it divides out, how strongly
the sample absorbs, stays as a column. It wants more shrinkage. The default, a mixture, has members of both kinds, and
rows held out inside the clients weigh them.

The instruments are made up: Tecator has one. Each third of its spectra is given a gain and an offset.
"""

# %%
# One label a row: which instrument measured it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
instrument = np.random.default_rng(0).choice(["bench", "inline", "portable"], len(y))
gain = {"bench": 1.0, "inline": 0.97, "portable": 1.05}
offset = {"bench": 0.0, "inline": 0.1, "portable": -0.2}
spectra = np.array([gain[i] * x + offset[i] for i, x in zip(instrument, X, strict=True)])

# %%
# Shrinkage is relative to the largest eigenvalue: in raw spectra that is scatter, in corrected ones it is not, so
# they get more of it. (These settings were chosen on inner folds of Tecator's training rows.)

network = FDRMFLTransformer(tuning=None, random_state=0)
snv = FDRMFLTransformer(tuning=None, pretreatment="snv", random_state=0)
corrected = FDRMFLTransformer(
    tuning=None, pretreatment="snv", shrinkage=2e-2, hidden_layer_sizes=(32, 32), weight_decay=0.1, random_state=0
)
models = {
    "one instrument, as measured": (X, network),
    "three, as they are": (spectra, network),
    "three, SNV": (spectra, snv),
    "three, SNV,\nmore shrinkage": (spectra, corrected),
    "three, the default": (spectra, FDRMFLTransformer(random_state=0)),
}
errors = {}
for name, (rows, model) in models.items():
    squares = []
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(X, groups=groups):
        model.fit(rows[train], y[train], client_ids=instrument[train])
        squares.extend((model.predict(rows[test]) - y[test]) ** 2)
    errors[name] = np.sqrt(np.mean(squares))

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for name, colour in zip(gain, ("#0072B2", "#E69F00", "#009E73"), strict=True):
    left.plot(tecator.wavelengths, spectra[instrument == name][:15].T, color=colour, linewidth=0.6)
    left.plot([], [], color=colour, label=name)
left.legend()
left.set_xlabel("wavelength, nm")
left.set_ylabel("absorbance")
bars = right.barh(list(errors), list(errors.values()), color="#0072B2")
right.bar_label(bars, fmt="%.2f", padding=3)
right.invert_yaxis()
right.margins(x=0.12)
right.set_xlabel("RMSE of fat, %")
plt.show()
