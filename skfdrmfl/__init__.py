"""Supervised features from several modalities at several sites: FDRMFL for scikit-learn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skfdrmfl.common.version import __version__

if TYPE_CHECKING:
    from skfdrmfl.clients.policy import SitePolicy
    from skfdrmfl.datasets import stack_modalities
    from skfdrmfl.diagnosis.csv_logger import CSVLogger
    from skfdrmfl.estimator._ignore_clients import IgnoreClients
    from skfdrmfl.estimator._transformer import FDRMFLTransformer
    from skfdrmfl.estimator._trust import OutsideDomainWarning
    from skfdrmfl.server.suspects import SuspectRowsWarning

__all__ = [
    "CSVLogger",
    "FDRMFLTransformer",
    "IgnoreClients",
    "OutsideDomainWarning",
    "SitePolicy",
    "SuspectRowsWarning",
    "__version__",
    "stack_modalities",
]

_HOMES = {
    "CSVLogger": "skfdrmfl.diagnosis.csv_logger",
    "FDRMFLTransformer": "skfdrmfl.estimator._transformer",
    "IgnoreClients": "skfdrmfl.estimator._ignore_clients",
    "OutsideDomainWarning": "skfdrmfl.estimator._trust",
    "SitePolicy": "skfdrmfl.clients.policy",
    "SuspectRowsWarning": "skfdrmfl.server.suspects",
    "stack_modalities": "skfdrmfl.datasets",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `skfdrmfl --help` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
