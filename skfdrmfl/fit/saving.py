"""A fitted estimator in one file, and back: what `save` and `load` write and read."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, fields
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

from skfdrmfl.common.archive import ArchiveError, read, to_bytes, write
from skfdrmfl.common.tree import registered
from skfdrmfl.common.version import __version__
from skfdrmfl.fit.callbacks import OF_CALLBACKS
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.mixture import KIND, mixture_of_tree, mixture_to_tree
from skfdrmfl.mixture.members import MemberTable
from skfdrmfl.protocol.ledger import Ledger


@registered
@dataclass(frozen=True)
class Choice:
    """What tuning chose in earlier versions; the weights have all of it but the shrinkage."""

    start: str
    shrinkage: float
    weight_decay: float
    share: float
    penalty: float


# What is written of a fitted estimator beside its parameters. The network is built anew from its `NetworkSpec`.
FIELDS = tuple(field.name for field in fields(Fitted) if field.name not in ("network", "ledger"))
# Attributes that scikit-learn keeps on an estimator: the first two follow from what is fitted.
FROM_FITTED, OUTPUT = {"n_features_in_", "feature_names_in_"}, "_sklearn_output_config"
REQUESTS = "_metadata_request"

registered(NetworkSpec, former="Blueprint")


def save(estimator: Any, fitted: Fitted, path: str | os.PathLike[str], *, about: dict[str, Any] | None = None) -> None:
    """Write a fitted estimator to a file, beside it plain values `about` it; see `FDRMFLTransformer.save`."""
    parameters = estimator.get_params(deep=False)
    kept = {"_fitted", OUTPUT, REQUESTS}
    others = vars(estimator).keys() - parameters.keys() - FROM_FITTED - kept - OF_CALLBACKS
    if others:
        raise TypeError(
            f"the estimator has attributes of its own ({', '.join(sorted(others))}), which a file would lose; "
            "use joblib.dump for such a model."
        )
    content = {
        "skfdrmfl": __version__,
        "parameters": parameters,
        "output": vars(estimator).get(OUTPUT),
        "requests": _requests_of(estimator),
        "fitted": {
            **{name: getattr(fitted, name) for name in FIELDS},
            "mixture": mixture_to_tree(fitted.mixture),
            "members": [list(fitted.members), fitted.members.note],
        },
        "ledger": fitted.ledger.to_dict(),
    }
    if about:
        content["about"] = about
    write(path, content, kind=KIND)


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what was written about a fitted estimator beside it, nothing of one that Python has saved."""
    return dict(read(path, kind=KIND).get("about", {}))


def check_saves(estimator: Any) -> None:
    """Raise TypeError where an estimator holds what no file can: before it is fitted for long."""
    to_bytes(estimator.get_params(deep=False), kind=KIND)


def load(cls: Any, path: str | os.PathLike[str]) -> Any:
    """Return the fitted estimator that a file holds; see `FDRMFLTransformer.load`."""
    content = read(path, kind=KIND)
    warn_of_version(cls, content["skfdrmfl"], stacklevel=4)
    try:
        estimator = cls(**content["parameters"])
        values = content["fitted"]
        if "blueprint" in values:  # as it was called
            values["network_spec"] = values.pop("blueprint")
        network_spec, table = values["network_spec"], values["table"]
        network = network_spec.network(table.widths, len(values["target"].mean), table.columns)
        values.setdefault("versions", {"skfdrmfl": content["skfdrmfl"]})
        values["members"] = MemberTable(*values.get("members", ()))
        if "choice" in values:
            values["shrinkage"] = values.pop("choice").shrinkage
            values.pop("tuning")
        values["mixture"] = mixture_of_tree(values.get("mixture"), network_spec, len(values["target"].mean))
        estimator._keep(Fitted(**values, network=network, ledger=Ledger.from_dict(content["ledger"])))
    except (KeyError, TypeError) as error:
        raise ArchiveError(
            f"{path} was written by skfdrmfl {content['skfdrmfl']}, whose models this version ({__version__}) cannot "
            "rebuild; load it with that version."
        ) from error
    if content["output"] is not None:
        setattr(estimator, OUTPUT, content["output"])
    if content.get("requests"):
        requests = estimator._get_metadata_request()
        for method, asked in content["requests"].items():
            for parameter, alias in asked.items():
                getattr(requests, method).add_request(param=parameter, alias=alias)
        setattr(estimator, REQUESTS, requests)
    return estimator


def warn_of_version(cls: type, version: str, stacklevel: int) -> None:
    """Warn where a fitted estimator comes from another version."""
    if version != __version__:
        versions = {"current_sklearn_version": __version__, "original_sklearn_version": version}
        warnings.warn(InconsistentVersionWarning(estimator_name=cls.__name__, **versions), stacklevel=stacklevel)


def _requests_of(estimator: Any) -> dict[str, dict[str, Any]] | None:
    """Return what metadata each method asks for, where `set_fit_request` or its kin were called."""
    requests = vars(estimator).get(REQUESTS)
    if requests is None:
        return None
    return {method: dict(asked.requests) for method, asked in vars(requests).items() if hasattr(asked, "requests")}
