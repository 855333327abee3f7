"""What one or two exchanges of sums over clients give."""
