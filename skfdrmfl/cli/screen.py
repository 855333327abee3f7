"""What is on the screen while a command works: progress on standard error; and Ctrl-C held back where it breaks."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    """Give a function that shows on stderr how far the work is: a bar if tqdm is installed, lines if not."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield _print_progress
        return
    bar = None

    def show(done: int, total: int, name: str) -> None:
        nonlocal bar
        if bar is None:  # not before: no bar above the message about a wrong argument
            bar = tqdm(total=total, file=sys.stderr, unit="fit", leave=False, dynamic_ncols=True)
        bar.set_description(name, refresh=False)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _print_progress(done: int, total: int, name: str) -> None:
    """Print a line for every tenth of the work."""
    tenth = done * 10 // total
    if done == 0 or tenth > (done - 1) * 10 // total:
        print(f"{10 * tenth:3d} %  {done} of {total} fits, {name}", file=sys.stderr, flush=True)
