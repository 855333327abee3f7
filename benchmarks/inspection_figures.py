"""Draw the pictures of fitted models in README and docs/inspection.md: Tecator's fat, three clients (a few seconds).

python benchmarks/inspection_figures.py [--out docs/figures]
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from _common import DOCS_FIGURES, arguments, parser
from matplotlib import pyplot
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline

from skfdrmfl import FDRMFLTransformer, IgnoreClients
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.inspection import (
    HistoryDisplay,
    ImportanceDisplay,
    OutlierDisplay,
    PredictedMeasuredDisplay,
    ScoresDisplay,
    SensitivityDisplay,
)


def first_picture(out: Path) -> None:
    """Two features of PCA and two of FDRMFL, the same ridge behind them: every row predicted from other folds."""
    tecator = load_tecator("fat")
    X, y, groups = tecator.data, tecator.target, tecator.groups
    client_ids = make_client_ids(y, 3, random_state=0)
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.8), sharex=True, sharey=True, layout="constrained")
    for ax, reduce in zip(axes, (IgnoreClients(PCA(2)), FDRMFLTransformer(2, random_state=0)), strict=True):
        pipeline = Pipeline([("reduce", reduce), ("ridge", RidgeCV(np.logspace(-6, 3, 10)))])
        y_hat = np.empty_like(y)
        for train, test in GroupKFold(5, shuffle=True, random_state=0).split(X, groups=groups):
            pipeline.fit(X[train], y[train], reduce__client_ids=client_ids[train])
            y_hat[test] = pipeline.predict(X[test])
        PredictedMeasuredDisplay.from_predictions(y, y_hat, client_ids=client_ids, ax=ax)
        name = "PCA, all rows pooled" if isinstance(reduce, IgnoreClients) else "FDRMFL, three clients"
        ax.set_title(f"{name}: two features")
        ax.set_xlabel("fat measured, %")
        ax.set_ylabel("fat predicted, %")
    figure.savefig(out / "first.png", dpi=90, metadata={"Software": None})
    print(f"Written to {out / 'first.png'}")


def main() -> None:
    out = arguments(parser(__doc__, DOCS_FIGURES)).out
    out.mkdir(parents=True, exist_ok=True)
    first_picture(out)
    tecator = load_tecator("fat", as_frame=True)
    X, y, groups = tecator.data, tecator.target, tecator.groups
    client_ids = make_client_ids(y, 3, random_state=0)
    train = groups % 5 != 0  # repeats of a sample stay on one side
    model = FDRMFLTransformer(early_stopping=True, n_iter_no_change=60, random_state=0)
    model.fit(X[train], y[train], client_ids=client_ids[train])
    pictures = {
        "sensitivity": [
            lambda ax: SensitivityDisplay.from_estimator(model, X[train], ax=ax),
            lambda ax: ImportanceDisplay.from_estimator(model, ax=ax),
        ],
        "scores": [
            lambda ax: ScoresDisplay.from_estimator(model, X, y, client_ids=client_ids, level=None, ax=ax),
            lambda ax: PredictedMeasuredDisplay.from_estimator(
                model, X[~train], y[~train], client_ids=client_ids[~train], ax=ax
            ),
        ],
        "outliers": [
            lambda ax: OutlierDisplay.from_estimator(
                model, X[~train], reference=X[train], client_ids=client_ids[~train], ax=ax
            ),
            lambda ax: HistoryDisplay.from_estimator(model, terms=("mse", "validation_mse"), ax=ax),
        ],
    }
    for name, panels in pictures.items():
        figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
        for ax, draw in zip(axes, panels, strict=True):
            draw(ax)
        if name == "outliers":
            axes[1].set_yscale("log")
        figure.savefig(out / f"inspection_{name}.png", dpi=90, metadata={"Software": None})
        print(f"Written to {out / f'inspection_{name}.png'}")


if __name__ == "__main__":
    main()
