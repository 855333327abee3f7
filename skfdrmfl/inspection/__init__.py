"""Reading what a fit has recorded."""
