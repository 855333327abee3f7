"""Data files that are packed with the library, and the scripts that made them."""
