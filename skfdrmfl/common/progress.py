"""One bar for whatever takes long: that of tqdm where it is installed, else a line now and then."""

from __future__ import annotations

import sys
from typing import Any

# Lines in the place of a bar, over the whole.
N_LINES = 10


class Bar:
    """How far something is, of `total` steps or fewer, on standard error; a step is a `unit`."""

    def __init__(self, title: str, total: int, unit: str, *, shown: bool = True):
        self._title, self._total, self._unit = title, total, unit
        self._bar = _tqdm(desc=title, total=total, unit=unit) if shown else None
        self._said = 0 if shown else N_LINES

    def reach(self, done: float, text: str = "") -> None:
        """Show that `done` steps are done; a fraction is a step in its midst."""
        done = min(int(done), self._total)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(done - self._bar.n)
        elif done * N_LINES // max(1, self._total) > self._said:
            self._said = done * N_LINES // max(1, self._total)
            said = f"{self._title}: {done}/{self._total} {self._unit}s{', ' if text else ''}{text}"
            print(said, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()


def _tqdm(**options: Any) -> Any:
    """Return a bar of tqdm, which counts in no thread of its own; None where there is no tqdm."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None

    class Threadless(tqdm):  # a program with threads cannot fork without a warning
        monitor_interval = 0

    return Threadless(dynamic_ncols=True, **options)
