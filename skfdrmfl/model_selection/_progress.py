"""The progress bar of a search."""

from __future__ import annotations

import sys
import time


class Progress:
    """One line on standard error, which says how much of the fits is done and how long it took.

    Parameters
    ----------
    n_fits : int
        Fits to come.
    """

    def __init__(self, n_fits: int):
        self.n_fits, self.start = n_fits, time.perf_counter()

    def show(self, n_done: float) -> None:
        """Show that `n_done` fits are done; a fraction is a fit in its midst."""
        seconds = time.perf_counter() - self.start
        share = min(1.0, n_done / max(1, self.n_fits))
        bar = "#" * round(30 * share)
        print(f"\r[search] |{bar:<30}| {share:4.0%} {seconds:6.1f} s", end="", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Fill the bar and end the line."""
        # Candidates that differ only in later steps share their fits, so there may be fewer than expected.
        self.show(self.n_fits)
        print(file=sys.stderr)
