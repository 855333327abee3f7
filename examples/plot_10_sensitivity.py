"""
What the model looks at: loadings and sensitivities
===================================================

**To see:** the first loadings of PCA are the overall level and its tilt. FDRMFL's network reads fat from sharp
differences between neighbouring wavelengths, the one at 925 nm, where fat absorbs, against its flanks among them. Its
sensitivity is the mean slope of the prediction with regard to the absorbance at each wavelength, and of a linear
model the regression vector.
"""

# %%
# Columns that are named by numbers become the axis of the pictures.

import matplotlib.pyplot as plt
from sklearn.decomposition import PCA

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.encoders import LinearEncoder
from skfdrmfl.inspection import SensitivityDisplay

tecator = load_tecator("fat", as_frame=True)
X, y = tecator.data, tecator.target
client_ids = make_client_ids(y, 3, random_state=0)

network = FDRMFLTransformer(random_state=0, tuning=None).fit(X, y, client_ids=client_ids)
linear = FDRMFLTransformer(encoders=LinearEncoder(), random_state=0, tuning=None).fit(X, y, client_ids=client_ids)

# %%
# The band is what the slope varies by from row to row; the linear model has none.

fig, axes = plt.subplots(3, 1, figsize=(7, 9), layout="constrained")
axes[0].plot(tecator.wavelengths, PCA(2).fit(X).components_.T)
axes[0].set_ylabel("loadings of PCA")
axes[0].legend(["first", "second"])
SensitivityDisplay.from_estimator(network, X, ax=axes[1], xlabel="wavelength, nm")
SensitivityDisplay.from_estimator(linear, X, ax=axes[2], xlabel="wavelength, nm")
axes[1].set_title("FDRMFL")
axes[2].set_title("FDRMFL with linear encoders: the regression vector")
plt.show()
