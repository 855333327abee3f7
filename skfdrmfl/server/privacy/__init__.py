"""Differential privacy of clients: what is clipped, the noise upon it, and the bill. Imported only where it is on."""
