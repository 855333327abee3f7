"""What the tests hold the package to."""
