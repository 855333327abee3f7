"""Couriers without their start: one process imports Flower once, and becomes a courier for each message by a fork.

A SuperNode starts the program `flwr-clientapp` for each message, by its name; most of what that costs is importing.
Here the name stands for a few lines that hand their arguments over. A courier is a process of its own as before, and
what comes over the network is loaded in that one alone. Where anything fails Flower's own program is started.

    python -I warm.py SOCKET    # with the Python that Flower is installed in
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

NAME = "flwr-clientapp"
# What stands where a SuperNode looks for Flower's program: 20 ms of a processor's time.
STANDING_IN = """\
#!{python} -IS
import json, os, socket, sys
try:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect({address!r})
        connection.settimeout(10)
        socket.send_fds(connection, [json.dumps(sys.argv[1:]).encode()], [1, 2])
        done = connection.recv(2) == b"ok"
except OSError:
    done = False
if not done:
    os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


def warmed(home: Path, environment: Mapping[str, str], program: str) -> tuple[list[str], dict[str, str]] | None:
    """Return the command that keeps couriers warm, and the environment in which a SuperNode finds what stands in.

    None where processes cannot fork, or Flower's program is no script of a Python.
    """
    with open(program, "rb") as file:
        first = file.readline(256).decode(errors="replace").strip()
    python = first.removeprefix("#!")
    if not hasattr(os, "fork") or not first.startswith("#!/") or not os.access(python, os.X_OK):
        return None
    folder, address = home / "bin", str(home / "warm.socket")
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / NAME
    script.write_text(STANDING_IN.format(python=python, address=address, program=program), encoding="utf-8")
    script.chmod(0o700)
    path = f"{folder}{os.pathsep}{environment.get('PATH', '')}"
    return [python, "-I", __file__, address], {**environment, "PATH": path}


def serve(address: str, work: Callable[[], int | None]) -> None:
    """Fork a process that does the work for each list of arguments that comes, until this one is ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for couriers
    with suppress(FileNotFoundError):
        os.unlink(address)
    server = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    server.bind(address)
    os.umask(mask)
    server.listen(16)
    while True:
        connection, _ = server.accept()
        with connection, suppress(OSError, ValueError):
            connection.settimeout(10)
            said, streams, _, _ = socket.recv_fds(connection, 65536, 2)
            arguments = json.loads(said)
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for number, stream in enumerate(streams, 1):
                    os.dup2(stream, number)
                connection.sendall(b"ok")
                connection.close()
                sys.argv = [NAME, *arguments]
                sys.exit(work())
            for stream in streams:
                os.close(stream)


if __name__ == "__main__":
    from importlib.metadata import entry_points

    (command,) = entry_points(group="console_scripts", name=NAME)
    serve(sys.argv[1], command.load())
