"""The equations of the objective under one public name; each stands in a file of `skfdrmfl.method.equations`."""

from skfdrmfl.method.equations.contrast import info_nce, unit
from skfdrmfl.method.equations.divergence import (
    MOST_VARIANCE,
    diagonal_alignment,
    log_variances,
    modality_alignment,
    moments_alignment,
    symmetric_kl,
)
from skfdrmfl.method.equations.information import jensen_shannon, nwj
from skfdrmfl.method.equations.prediction import squared_error

__all__ = [
    "MOST_VARIANCE",
    "diagonal_alignment",
    "info_nce",
    "jensen_shannon",
    "log_variances",
    "modality_alignment",
    "moments_alignment",
    "nwj",
    "squared_error",
    "symmetric_kl",
    "unit",
]
