"""What is on the screen while a command works: progress on standard error; and Ctrl-C held back where it breaks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from skfdrmfl.common.progress import Bar

Progress = Callable[[int, int, str], None]


@contextmanager
def interrupt_waits() -> Iterator[None]:
    """Hold Ctrl-C back: in the middle of the import of a compiled module it comes out as a broken installation."""
    if threading.current_thread() is not threading.main_thread():  # other threads have no say in signals
        yield
        return
    came = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *unused: came.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came.is_set():
        raise KeyboardInterrupt


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a function that shows on standard error how far the work is."""
    bars: list[Bar] = []

    def show(done: int, total: int, name: str) -> None:
        if not bars:  # not before: no bar above the message about a wrong argument
            bars.append(Bar("compare", total, "fit"))
        bars[0].reach(done, name)

    try:
        yield show
    finally:
        for bar in bars:
            bar.close()
