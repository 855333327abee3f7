"""Supervised features from several modalities at several sites: FDRMFL for scikit-learn."""

from skfdrmfl._ignore_clients import IgnoreClients
from skfdrmfl._transformer import FDRMFLTransformer
from skfdrmfl._version import __version__

__all__ = ["FDRMFLTransformer", "IgnoreClients", "__version__"]
