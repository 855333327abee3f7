"""The mixture: its members, what each weighs, and the fit that finds them by sums."""
