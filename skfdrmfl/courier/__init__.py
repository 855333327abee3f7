"""What Flower carries: bytes between its messages and processes that hold a site's rows, or a server's estimator.

`sockets`, `client` and `server` go over the network as Flower's app, and import nothing but Flower and each other.
"""
