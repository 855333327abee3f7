"""A federation whose clients are elsewhere: what is said to them, how it is written down, and who answers."""
