"""One intra-op thread inside, the caller's setting restored after.

The networks are small: a second thread gains little, can stall on a busy machine, changes the last bits of a
result, and starts the thread pool that makes a later fork hang.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_depth = 0  # how many fits and transforms are inside, in all threads
_original = 1  # torch's setting found by the first of them, or when torch was imported inside
_blas: list[tuple[Any, int]] = []  # numpy's and scipy's libraries with more than one thread, and how many
_mine = threading.local()  # whether this thread is inside already


@contextmanager
def single_threaded() -> Iterator[None]:
    """Hold torch, imported before or inside, to one thread and its own defaults; numpy to one thread too."""
    global _depth, _original, _blas
    if getattr(_mine, "inside", False):  # all is set, and the outermost restores it
        yield
        return
    torch = sys.modules.get("torch")
    with _lock:
        before = None if torch is None else torch.get_num_threads()
        if _depth == 0:
            _original = 1 if before is None else before
            _blas = [(library, n) for library in _libraries() if (n := library.get_num_threads()) > 1]
            for library, _ in _blas:
                library.set_num_threads(1)
        elif before == 1:
            # A thread that starts while another is inside inherits its 1: give it what that one found.
            before = _original
        _depth += 1
        if torch is not None:
            torch.set_num_threads(1)
    _mine.inside = True
    try:
        with ExitStack() as _mine.stack:
            if torch is not None:
                _hold_defaults(torch, _mine.stack)
            yield
    finally:
        _mine.inside = False
        with _lock:
            _depth -= 1
            if torch is not None:
                torch.set_num_threads(before)
            elif (late := sys.modules.get("torch")) is not None and late.get_num_threads() == 1:
                late.set_num_threads(_original)
            if _depth == 0:
                for library, n_threads in _blas:
                    library.set_num_threads(n_threads)


def hold_torch(torch: Any) -> None:
    """Hold torch as `single_threaded` does, where it is imported inside of that."""
    global _original
    if getattr(_mine, "inside", False):
        with _lock:
            if torch.get_num_threads() > 1:
                _original = torch.get_num_threads()
                torch.set_num_threads(1)
        _hold_defaults(torch, _mine.stack)


def _hold_defaults(torch: Any, stack: ExitStack) -> None:
    """Undo on a thread, until the stack is closed, what a user may have set there."""
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.no_grad())
    if torch.get_default_device().type != "cpu":
        stack.enter_context(torch.device("cpu"))
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))


@cache
def _libraries() -> list[Any]:
    """Return the libraries that multiply matrices for numpy and scipy, looked for once."""
    from threadpoolctl import ThreadpoolController  # which `skfdrmfl.light` does without

    return ThreadpoolController().select(user_api="blas").lib_controllers


def _after_fork() -> None:
    """Start anew: a fork copies the lock and the count, but none of the threads that would give them back."""
    global _lock, _depth, _mine
    _lock = threading.Lock()
    _depth = 0
    _mine = threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
