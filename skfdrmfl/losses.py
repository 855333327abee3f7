"""The equations of the objective under one public name; each stands in a file of `skfdrmfl.equations`."""

from skfdrmfl.equations.contrast import info_nce, info_nce_gradient, unit
from skfdrmfl.equations.divergence import (
    MOST_VARIANCE,
    diagonal_alignment,
    diagonal_alignment_gradient,
    log_variances,
    log_variances_gradient,
    modality_alignment,
    modality_alignment_gradient,
    moments_alignment,
    moments_alignment_gradient,
    symmetric_kl,
)
from skfdrmfl.equations.information import jensen_shannon, jensen_shannon_gradient, nwj
from skfdrmfl.equations.prediction import squared_error, squared_error_gradient

__all__ = [
    "MOST_VARIANCE",
    "diagonal_alignment",
    "diagonal_alignment_gradient",
    "info_nce",
    "info_nce_gradient",
    "jensen_shannon",
    "jensen_shannon_gradient",
    "log_variances",
    "log_variances_gradient",
    "modality_alignment",
    "modality_alignment_gradient",
    "moments_alignment",
    "moments_alignment_gradient",
    "nwj",
    "squared_error",
    "squared_error_gradient",
    "symmetric_kl",
    "unit",
]
