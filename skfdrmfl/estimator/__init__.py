"""scikit-learn's face of the method, its preparation, tuning, and what a fit leaves."""
