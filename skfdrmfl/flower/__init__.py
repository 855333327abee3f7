"""A fit over a real federation, on Flower, which the extra `flower` brings.

What is said between server and clients is in `clients/remote/`; here it is only carried, in Flower's Message API.
"""

from skfdrmfl.common.extras import install

try:
    import flwr  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"skfdrmfl.flower needs Flower, which is not installed; run: {install('flower', 'flwr')}", name="flwr"
    ) from error

from skfdrmfl.flower._client import client_app
from skfdrmfl.flower._server import server_app

__all__ = ["client_app", "server_app"]
