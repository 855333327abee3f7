"""What is on the screen while a command works: results, progress, warnings; and Ctrl-C held back where it breaks."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from skfdrmfl.common.progress import Bar

Progress = Callable[[int, int, str], None]


class Interrupted(Exception):
    """Ctrl-C, after which something was kept; the text says what."""


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


class Stream:
    """A standard stream whose end, `lost`, does not end the work: what nobody reads, or no disk takes, is dropped."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text; letters that the stream's encoding lacks become question marks."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:
            self.write(text.encode(error.encoding, "replace").decode(error.encoding))
        except OSError as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        """Drop all that follows, and what is still in the stream's memory, which Python writes when it ends."""
        self.lost = error
        ended, self._stream = self._stream, open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (to the end)
        with suppress(OSError, ValueError):  # not a file
            os.dup2(self._stream.fileno(), ended.fileno())


@contextmanager
def lasting_streams() -> Iterator[Stream]:
    """Let standard output and error be streams whose end does not end the work; give the output."""
    with ExitStack() as stack:
        out, err = Stream(sys.stdout), Stream(sys.stderr)
        for stream, redirected in ((out, redirect_stdout), (err, redirect_stderr)):
            if stream._stream is not None:  # closed from the beginning: Python prints nothing then
                stack.enter_context(redirected(stream))
                stack.callback(stream.flush)
        yield out


@contextmanager
def warning_lines(program: str) -> Iterator[None]:
    """Show warnings of Python as lines of the program on standard error, each once."""
    said = set()

    def show(message: Any, *unused: Any, **more: Any) -> None:
        text = " ".join(str(message).split())
        if text not in said:
            said.add(text)
            print(f"{program}: warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


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
