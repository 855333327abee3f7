"""Programs of Flower beside a command: found, started, heard, started again, and ended with it, however it ends."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from skfdrmfl.common.extras import install

# Ends a program, and all that it has started, when who started this has ended and so closed standard input.
WATCHED = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def all_get(number):
    os.killpg(0, number) if hasattr(os, "killpg") else child.kill()
def watch():
    sys.stdin.read()
    all_get(signal.SIGTERM)
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        pass
    all_get(getattr(signal, "SIGKILL", signal.SIGTERM))
watching = threading.Thread(target=watch, daemon=True)
watching.start()
status = child.wait()
all_get(signal.SIGTERM)
watching.join(1)
sys.exit(status)
"""
SETTINGS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",  # seconds; Flower's own is one
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What Flower says of each message, and of its own ways: the command says what is in these.
NOISE = re.compile(r"INFO *:|INFO \[uvicorn|^ *$|^\[notice\]")
NUMBERS = re.compile(r"[0-9.]+")
AGAIN = 3.0  # seconds until a program that has ended is started again


def found(name: str) -> str:
    """Return the path of one of Flower's programs; FileNotFoundError says how to install it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which(name, path=path)
    if program is None:
        remedy = install("flower", "flwr")
        raise FileNotFoundError(f"{name} is a program of Flower, which is not installed; run: {remedy}")
    return program


def environment(home: Path) -> dict[str, str]:
    """Return the environment of Flower's programs, which keep what they keep in the folder `home`."""
    path = os.pathsep.join([str(Path(found("flwr")).parent), os.environ.get("PATH", "")])
    return {**os.environ, **SETTINGS, "FLWR_HOME": str(home), "PATH": path}


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """One of Flower's programs, started again where it ends by itself if `lasting`; `say` is told what it says."""

    def __init__(
        self,
        arguments: list[str],
        environment: Mapping[str, str],
        say: Callable[[str], None],
        *,
        lasting: bool = False,
        name: str = "",
    ):
        self._command = [sys.executable, "-I", "-c", WATCHED, found(arguments[0]), *arguments[1:]]
        self._environment, self._say = dict(environment), say
        self._lasting, self._closed = lasting, threading.Event()
        self.name = name or arguments[0]
        self.process = self._started()
        self._listening = threading.Thread(target=self._follow, daemon=True)
        self._listening.start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, for good."""
        return not self._listening.is_alive()

    def close(self) -> None:
        """End it and all that it has started."""
        self._closed.set()
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self._listening.join(5)

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment,
            start_new_session=True,
        )

    def _follow(self) -> None:
        """Pass on what the program says, the same but for its numbers once; start it again when it has ended."""
        before = ""
        while True:
            assert self.process.stdout is not None and self.process.stdin is not None
            for line in self.process.stdout:
                said = COLOURS.sub("", line).rstrip()
                if self._closed.is_set():
                    continue  # what it says of its end is nobody's concern
                if not NOISE.search(said) and (now := NUMBERS.sub("", said)) != before:
                    before = now
                    self._say(f"{self.name}: {said}")
            status = self.process.wait()
            for pipe in (self.process.stdout, self.process.stdin):
                pipe.close()
            if self._closed.is_set():
                return
            if not self._lasting:
                self._say(f"{self.name} ended with status {status}.")
                return
            self._say(f"{self.name} ended with status {status}; it is started again.")
            if self._closed.wait(AGAIN):
                return
            self.process = self._started()


def wait_for_port(port: int, program: Program, limit: float) -> None:
    """Wait until a program listens at a port of this machine; ConnectionError where it ends, or does not in time."""
    end = time.monotonic() + limit
    while True:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if program.is_over or time.monotonic() > end:
            raise ConnectionError(f"{program.name} does not listen at port {port}; its output is above.")
        time.sleep(0.1)
