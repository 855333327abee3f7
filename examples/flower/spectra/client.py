"""What a SuperNode runs."""

from skfdrmfl.flower import client_app
from spectra.data import load_data
from spectra.model import estimator

app = client_app(load_data, estimator)
