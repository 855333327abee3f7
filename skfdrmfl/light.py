"""Predictions of a saved model with numpy alone, for small devices and processes that answer once.

Neither torch nor scikit-learn nor scipy is imported. The equations are those of `FDRMFLTransformer`, and so are the
bits of what is predicted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import skfdrmfl.views  # noqa: F401  # the classes that files have of them
from skfdrmfl.common.archive import read
from skfdrmfl.common.arrays import Float, Indices, Present, check_unmasked
from skfdrmfl.common.tree import class_known
from skfdrmfl.data.modalities import find_present
from skfdrmfl.data.transforms import BlockTransform
from skfdrmfl.method.adaptation import Adapted
from skfdrmfl.method.fusion import FUSIONS
from skfdrmfl.method.mixture import KIND, Mixture, mixture_of_tree
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.network import Network
from skfdrmfl.method.parts import part_name
from skfdrmfl.method.trained_network import TrainedNetwork

__all__ = ["LightModel", "load", "predict_file"]

# What is read of the file, by the names that `fit.saving` gives it.
FIELDS = (
    "n_features",
    *("network_spec", "blueprint", "table", "weights", "mixture"),
    *("adaptation", "target", "y_ndim", "label_columns", "feature_names", "number_names"),
)
REMEDY = "use FDRMFLTransformer.load"


@dataclass(frozen=True, eq=False)
class LightModel:
    """A model that predicts.

    It says nothing of rows unlike those of the fit: `FDRMFLTransformer.domain` does.
    """

    predictor: TrainedNetwork | Mixture | Adapted
    modalities: dict[str, Indices]
    target: BlockTransform
    y_ndim: int
    n_features: int
    label_columns: tuple[int, ...]
    names: tuple[Any, ...] = ()

    def predict(self, X: ArrayLike) -> NDArray:
        """Return the prediction in the units of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, in the order of the columns in `fit`; of a DataFrame's names none is matched. A row that lacks a
            modality has NaN in all of its columns. Columns that held labels of clients or groups may be missing.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)

        Raises
        ------
        ValueError
            X is no such table, or a DataFrame with the names of `fit` in another order.
        """
        table, present = self._read(X)
        y_hat = self.target.undo(self.predictor.evaluate(table, present)[1])
        return y_hat[:, 0] if self.y_ndim == 1 else y_hat

    def transform(self, X: ArrayLike) -> NDArray:
        """Return Z (n_samples, n_components), float32 for float32 X; the rest is as of `predict`."""
        table, present = self._read(X)
        return self.predictor.evaluate(table, present)[0].astype(table.dtype, copy=False)

    def _read(self, X: ArrayLike) -> tuple[NDArray, Present | None]:
        """Return X as numbers, and which modalities each row has."""
        check_unmasked(X, "X")
        place = {name: j for j, name in enumerate(self.names)}
        known = [name for name in getattr(X, "columns", ()) if name in place]
        if known != sorted(known, key=place.__getitem__):
            raise ValueError("X has the names of the columns of fit in another order; pass them in the order of fit.")
        table = np.asarray(X)
        if np.iscomplexobj(table):
            raise ValueError("X is complex; pass real numbers, such as abs(X).")
        if table.dtype != np.float32:
            table = table.astype(np.float64, copy=False)
        labels = list(self.label_columns)
        if table.ndim == 2 and table.shape[1] == self.n_features - len(labels):
            table = np.insert(table, np.array(labels, dtype=np.int64) - np.arange(len(labels)), 0.0, axis=1)
        if table.ndim != 2 or table.shape[1] != self.n_features:
            raise ValueError(f"X has the shape {table.shape}; pass a table of {self.n_features} columns.")
        if not len(table):
            raise ValueError("X has no rows; pass one or more.")
        if labels:
            table = table.copy()
            table[:, labels] = 0.0
        present = find_present(table, self.modalities) if len(self.modalities) > 1 else None
        if not np.isfinite(table.sum()):  # of many rows, or with one that is not finite, a closer look
            odd = ~(np.isfinite(table) if present is None else np.isfinite(table) | np.isnan(table)).all(1)
            if odd.any():
                raise ValueError(f"X is not finite in {odd.sum()} rows (first: row {np.argmax(odd)}); drop those rows.")
        return table, present


def load(path: str | os.PathLike[str]) -> LightModel:
    """Return what predicts from a file that `FDRMFLTransformer.save` or `skfdrmfl fit` has written.

    Nothing in the file is ever run, whoever wrote it.

    Parameters
    ----------
    path : str or path-like

    Raises
    ------
    ValueError
        The file is damaged or of another kind, or its model has categories, or encoders that are neither dense nor
        linear.

    Examples
    --------
    >>> from skfdrmfl import FDRMFLTransformer, light
    >>> from skfdrmfl.datasets import load_tecator
    >>> X, y = load_tecator(return_X_y=True)
    >>> FDRMFLTransformer(n_rounds=2, tuning=None, random_state=0).fit(X, y).save("model.npz")
    >>> light.load("model.npz").predict(X).shape
    (215,)
    """
    fitted = read(path, kind=KIND, chosen=_what_predicts, class_of=_class_of)
    spec: _Spec = fitted.get("network_spec", fitted.get("blueprint"))
    for name, encoder in spec.specs.items():
        if not isinstance(encoder, _Dense):
            raise ValueError(f"{path} reads modality {name!r} by a {type(encoder).__name__}; {REMEDY}.")
    if spec.categories:
        raise ValueError(f"{path} has columns of categories ({', '.join(map(str, spec.categories))}); {REMEDY}.")
    table, target = fitted["table"], fitted["target"]
    predictor: Any = mixture_of_tree(fitted.get("mixture"), spec, len(target.mean))
    if predictor is None:
        network = spec.network(table.widths, len(target.mean), table.columns)
        predictor = TrainedNetwork(table, network, fitted["weights"])
    if (change := fitted.get("adaptation")) is not None:
        predictor = Adapted(predictor, change)
    labels, texts = tuple(fitted.get("label_columns", ())), fitted.get("feature_names")
    names = fitted.get("number_names") if texts is None else texts
    names = () if names is None else tuple(names.tolist())
    return LightModel(predictor, spec.modalities, target, fitted["y_ndim"], fitted["n_features"], labels, names)


def predict_file(path: str | os.PathLike[str], X: ArrayLike) -> NDArray:
    """Return what a saved model predicts of X: `load` and `predict` in one.

    Parameters
    ----------
    path : str or path-like
    X : array-like of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_outputs)
    """
    return load(path).predict(X)


# ------------------------------------------------------------------------- what stands for scikit-learn's objects


class _Foreign:
    """An object of a class that is not known here."""

    def __init__(self, *values: Any, **fields: Any) -> None:
        pass


@dataclass(frozen=True)
class _Dense:
    """`encoders.DenseEncoder`."""

    hidden_layer_sizes: Any = None
    skip: bool = True
    embedding_dim: int = 0


class _Linear(_Dense):
    """`encoders.LinearEncoder`."""

    def __init__(self) -> None:
        super().__init__(())


@dataclass(frozen=True)
class _Spec:
    """`fit.network_spec.NetworkSpec` of encoders that are dense layers."""

    specs: dict[str, _Dense]
    modalities: dict[str, Indices]
    categories: dict[int, Any]
    n_components: int
    modality_dim: int
    hidden_layer_sizes: Any
    head_hidden_layer_sizes: Any
    fusion: str
    alignment: str = "homoscedastic"

    def network(self, widths: Mapping[str, int], n_outputs: int, columns: Mapping[str, Float] | None = None) -> Network:
        """Return the network for encoder inputs of these widths."""
        encoders = {}
        for name, width in widths.items():
            spec, hidden = self.specs[name], self.hidden_layer_sizes
            hidden = _sizes(hidden if spec.hidden_layer_sizes is None else spec.hidden_layer_sizes)
            encoders[name] = MLP(part_name(name), width, hidden, self.modality_dim, skip=bool(spec.skip))
        return Network(
            encoders,
            FUSIONS[self.fusion](),
            modality_dim=self.modality_dim,
            n_components=self.n_components,
            n_outputs=n_outputs,
            head_hidden=_sizes(self.head_hidden_layer_sizes),
        )


_OWN: dict[str, type] = {"NetworkSpec": _Spec, "Blueprint": _Spec, "DenseEncoder": _Dense, "LinearEncoder": _Linear}


def _class_of(name: str) -> type:
    """Return what objects of a class in a file become."""
    return _OWN.get(name) or class_known(name) or type(name, (_Foreign,), {})


def _sizes(widths: Any) -> tuple[int, ...]:
    """Return widths of layers, which may be one number."""
    return tuple(int(n) for n in np.ravel(widths))


def _what_predicts(content: Any) -> Any:
    """Return the JSON of what predicts, of that of a whole file."""
    fitted = content["dict"]["fitted"]["dict"]
    return {"dict": {name: fitted[name] for name in FIELDS if name in fitted}}
