"""The network of one client as pure functions of parameters and rows, and its objective."""
