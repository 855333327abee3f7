"""Data to try the library on, and functions that lay other data out for it."""

from ._client_ids import make_client_ids
from ._corn import fetch_corn
from ._simulation import make_simulation
from ._spectra import read_spectra
from ._stack import stack_modalities
from ._tecator import load_tecator

__all__ = ["fetch_corn", "load_tecator", "make_client_ids", "make_simulation", "read_spectra", "stack_modalities"]
