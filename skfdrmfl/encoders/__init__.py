"""The encoders, by which one modality becomes its code: specs passed as `encoders`, each of which builds an h_m."""

from skfdrmfl.encoders._categorical import CategoricalEncoder
from skfdrmfl.encoders._conv import Conv1DEncoder, Conv2DEncoder
from skfdrmfl.encoders._dense import DenseEncoder, LinearEncoder
from skfdrmfl.encoders._recurrent import RecurrentEncoder
from skfdrmfl.encoders._spec import Encoder
from skfdrmfl.encoders._torch import TorchEncoder

__all__ = [
    "CategoricalEncoder",
    "Conv1DEncoder",
    "Conv2DEncoder",
    "DenseEncoder",
    "Encoder",
    "LinearEncoder",
    "RecurrentEncoder",
    "TorchEncoder",
]
