"""
Categories beside numbers
=========================

**To see:** where the slope of a number depends on a category, one modality that holds both finds it; a one-hot
encoding before a ridge cannot. A DataFrame goes in as it is.

The table is made up: three numbers, a colour and a flag; the colour turns the sign of the first number's slope.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfdrmfl import FDRMFLTransformer

rng = np.random.default_rng(0)
n = 600
table = pd.DataFrame(rng.standard_normal((n, 3)), columns=["a", "b", "c"])
table["colour"] = rng.choice(["red", "green", "blue"], n)
table["ripe"] = rng.random(n) < 0.5
slope = table["colour"].map({"red": 1.0, "green": 0.2, "blue": -1.0})
y = slope * table["a"] + 0.5 * table["b"] + table["ripe"] + 0.3 * rng.standard_normal(n)
sites = rng.choice(["north", "south", "west"], n)
train, test = np.arange(n) < 400, np.arange(n) >= 400

# %%
# Without ``modalities`` numbers and categories are two, whose effects add up; in one they can interact.

models = {
    "one-hot + RidgeCV": make_pipeline(
        make_column_transformer((OneHotEncoder(), ["colour", "ripe"]), remainder="passthrough"), RidgeCV()
    ),
    "FDRMFL, two modalities": FDRMFLTransformer(random_state=0),
    "FDRMFL, one modality": FDRMFLTransformer(modalities={"all": slice(None)}, random_state=0),
}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    extra = {"client_ids": sites[train]} if name.startswith("FDRMFL") else {}
    y_hat = model.fit(table[train], y[train], **extra).predict(table[test])
    for colour, rows in table[test].groupby("colour").indices.items():
        ax.scatter(y[test].iloc[rows], y_hat[rows], s=10, color=colour)
    ax.plot([-3, 4], [-3, 4], color="0.7")
    ax.set_title(f"{name}: {np.sqrt(np.mean((y_hat - y[test]) ** 2)):.2f}")
    ax.set_xlabel("y, test rows")
axes[0].set_ylabel("predicted")
plt.show()
