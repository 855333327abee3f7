"""Draw the figures of docs/inspection.md: Tecator's fat, three clients, early stopping (a few seconds).

python benchmarks/inspection_figures.py [--out docs/figures]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.inspection import (
    HistoryDisplay,
    ImportanceDisplay,
    OutlierDisplay,
    PredictedMeasuredDisplay,
    ScoresDisplay,
    SensitivityDisplay,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "figures")
    out = parser.parse_args().out
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
    out.mkdir(parents=True, exist_ok=True)
    for name, panels in pictures.items():
        figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
        for ax, draw in zip(axes, panels, strict=True):
            draw(ax)
        if name == "outliers":
            axes[1].set_yscale("log")
        figure.savefig(out / f"inspection_{name}.png", dpi=90, metadata={"Software": None})
        print(out / f"inspection_{name}.png")


if __name__ == "__main__":
    main()
