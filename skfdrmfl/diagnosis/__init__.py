"""Functions that read what a fit has recorded, and judge it."""
