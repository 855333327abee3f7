"""What the SuperLink runs."""

from skfdrmfl.flower import server_app
from spectra.model import estimator

app = server_app(estimator, "spectra.skfdrmfl")
