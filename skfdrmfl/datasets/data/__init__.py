"""Data files that travel with the package, and the scripts that made them."""
