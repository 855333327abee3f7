"""
Scores, errors and outliers
===========================

**To see:** Z of the network alone, with one y, is nearly one direction: the first component is the prediction under
another name. And where the wavelength scale of an instrument slips by 4 nm, nearly all its rows are beyond the limits
of T² and Q.

The slip is made up; the rest is Tecator as it is.
"""

# %%
# Trained on four fifths of the samples; the others are looked at, as they are and slipped.

import matplotlib.pyplot as plt
import numpy as np

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.inspection import ClientErrorsDisplay, OutlierDisplay, PredictedMeasuredDisplay, ScoresDisplay

tecator = load_tecator("fat")
X, y, groups = tecator.data, tecator.target, tecator.groups
sites = np.array(["north", "south", "west"])[make_client_ids(y, 3, random_state=0)]
train = groups % 5 != 0

model = FDRMFLTransformer(random_state=0, tuning=None).fit(X[train], y[train], client_ids=sites[train])
slipped = np.roll(X[~train], 2, axis=1)  # two columns of 2 nm
both = np.vstack([X[~train], slipped])
state = np.repeat(["as measured", "slipped"], len(slipped))

# %%
# Displays are scikit-learn's: ``from_estimator`` draws, ``ax=`` says where.

fig, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
ScoresDisplay.from_estimator(model, X[train], y[train], ax=axes[0, 0])
PredictedMeasuredDisplay.from_estimator(model, X[~train], y[~train], client_ids=sites[~train], ax=axes[0, 1])
ClientErrorsDisplay.from_estimator(model, X[~train], y[~train], sites[~train], ax=axes[1, 0])
outliers = OutlierDisplay.from_estimator(model, both, client_ids=state, ax=axes[1, 1])
axes[1, 1].set_xscale("log")
axes[1, 1].set_yscale("log")
plt.show()

# %%
print(model.component_variance_)
