"""This package reads what a fit has recorded."""
