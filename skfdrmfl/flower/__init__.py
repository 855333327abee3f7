"""A fit over a real federation, on Flower: `pip install 'skfdrmfl[flower]'`.

What is said between server and clients is in `federation/remote/`; here it is only carried, in Flower's Message API.
"""

from skfdrmfl.flower._client import client_app
from skfdrmfl.flower._server import server_app

__all__ = ["client_app", "server_app"]
