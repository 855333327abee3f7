"""The progress bar of a search: one line on standard error."""

from __future__ import annotations

import sys
import time


class Progress:
    """One line on standard error."""

    def __init__(self, n_fits: int):
        self.n_fits, self.done, self.start = n_fits, 0.0, time.perf_counter()

    def show(self, partial: float) -> None:
        seconds = time.perf_counter() - self.start
        share = min(1.0, (self.done + partial) / max(1, self.n_fits))
        bar = "#" * round(30 * share)
        print(f"\r[search] |{bar:<30}| {share:4.0%} {seconds:6.1f} s", end="", file=sys.stderr, flush=True)

    def add(self, n_fits: int) -> None:
        self.done += n_fits

    def finish(self) -> None:
        # Candidates that differ only in later steps share their fits, so there may be fewer than expected.
        self.show(self.n_fits)
        print(file=sys.stderr)
