"""One bar for whatever takes long: that of tqdm where it is installed, else a line, on a terminal written anew.

What takes long deep inside tells what it is at, to whoever listens.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# Lines in the place of a bar, over the whole.
N_LINES = 10
REFRESHED_AFTER = 0.5  # seconds

_LISTENER: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


def tell(stage: str) -> None:
    """Tell the listener, if there is one, what the work is at."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(stage)


@contextmanager
def told_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Let `listener` hear what work inside the context tells."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


class Bar:
    """How far something is, of `total` steps or fewer, on standard error; a step is a `unit`."""

    def __init__(self, title: str, total: int, unit: str, *, shown: bool = True):
        self._title, self._total, self._unit, self._shown = title, total, unit, shown
        self._bar = _tqdm(desc=title, total=total, unit=unit) if shown else None
        self._said = 0  # lines
        self._refreshed = 0.0  # when what is no step was shown last

    def reach(self, done: float, text: str = "") -> None:
        """Show that `done` steps are done; a fraction, or as many as before, is a step in its midst."""
        if not self._shown:
            return
        done = min(int(done), self._total)
        is_due = time.monotonic() - self._refreshed >= REFRESHED_AFTER
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(done - self._bar.n)
            if is_due:
                self._bar.refresh()
        else:
            line = f"{self._title}: {done}/{self._total} {self._unit}s{', ' if text else ''}{text}"
            n_lines = done * N_LINES // max(1, self._total)
            if sys.stderr.isatty():
                if is_due or done == self._total:
                    print(f"\r{line:<79.79}", end="", file=sys.stderr, flush=True)
            elif n_lines > self._said:
                self._said = n_lines
                print(line, file=sys.stderr, flush=True)
        if is_due:
            self._refreshed = time.monotonic()

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()
        elif self._shown and sys.stderr.isatty():
            print(file=sys.stderr)


def _tqdm(**options: Any) -> Any:
    """Return a bar of tqdm, which counts in no thread of its own; None where there is no tqdm."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None

    class Threadless(tqdm):  # a program with threads cannot fork without a warning
        monitor_interval = 0

    return Threadless(dynamic_ncols=True, **options)
