"""The clients' side: rows, how they answer queries, and how many of them train in one memory or over a wire."""
