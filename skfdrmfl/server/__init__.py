"""The server's side of a fit: rounds, algorithms, aggregation, privacy. It reaches no row."""
