"""What every floor uses: random streams, threads, array types."""
