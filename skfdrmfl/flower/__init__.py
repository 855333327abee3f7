"""A fit over a real federation, on Flower: `pip install 'skfdrmfl[flower]'`.

What is said between server and clients is in `clients/remote/`; here it is only carried, in Flower's Message API.
"""

try:
    import flwr  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "skfdrmfl.flower needs Flower, which is not installed; run: pip install 'skfdrmfl[flower]'", name="flwr"
    ) from error

from skfdrmfl.flower._client import client_app
from skfdrmfl.flower._server import server_app

__all__ = ["client_app", "server_app"]
