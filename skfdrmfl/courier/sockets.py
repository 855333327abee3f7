"""Frames, a text and bytes each, over a socket of one machine: a Unix socket, or loopback with a token in a file."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

# What a frame begins with: its kind, and the bytes of its text and of its data.
HEADER = struct.Struct("<4sIQ")
SAYS, REFUSES = b"SKF1", b"SKF!"
# Bytes that a frame may have at most.
MOST_TEXT, MOST_DATA = 2**23, 2**31
AT_ONCE = 2**20
N_TOKEN = 64  # characters
# Seconds in which a part of a frame is to be there, and bytes a second by which a large one has to come from then on.
LEAST_WAIT, LEAST_PACE = 10.0, 2**20
# Seconds for which a process may be away while it is asked, between two looks for it, and how often it is asked.
AWAY, LOOK, TIMES = 60.0, 0.2, 10


class FrameError(ConnectionError):
    """What has come is no frame, too large, or too late."""


class Refused(ConnectionError):
    """The other end has said that it will not answer, and why."""


def receive(
    connection: socket.socket, wait: float | None = None, most_data: int = MOST_DATA, header: bytes | bytearray = b""
) -> tuple[str, bytearray]:
    """Return the text and the data of the next frame, which begins within `wait` seconds; None waits for ever.

    FrameError: it is none; ConnectionError: the other end has gone; Refused: it says so. `header` has been read before.
    """
    kind, n_text, n_data = HEADER.unpack(header or take(connection, HEADER.size, wait))
    if kind not in (SAYS, REFUSES):
        raise FrameError("what has come is no frame; is the other end of another version?")
    if n_text > MOST_TEXT or n_data > most_data:
        raise FrameError(f"a frame of {n_text} + {n_data} bytes was announced, of {MOST_TEXT} + {most_data} at most.")
    text = take(connection, n_text, LEAST_WAIT)
    data = take(connection, n_data, LEAST_WAIT)
    try:
        said = text.decode()
    except UnicodeDecodeError as error:
        raise FrameError("the text of a frame is no UTF-8.") from error
    if kind == REFUSES:
        raise Refused(said)
    return said, data


def send(
    connection: socket.socket, text: str, data: bytes | bytearray = b"", *, kind: bytes = SAYS, wait: float = 600.0
) -> None:
    """Send a frame; TimeoutError where the other end does not take it within `wait` seconds."""
    encoded = text.encode()
    connection.settimeout(wait)
    connection.sendall(HEADER.pack(kind, len(encoded), len(data)) + encoded)
    if data:
        connection.sendall(data)


def take(connection: socket.socket, n: int, wait: float | None) -> bytearray:
    """Return so many bytes, which come within `wait` seconds or at the least pace from then on; None waits for ever.

    Memory grows with what comes, not with what is announced.
    """
    found = bytearray()
    start = time.monotonic()
    while len(found) < n:
        left = None if wait is None else start + wait + len(found) / LEAST_PACE - time.monotonic()
        if left is not None and left <= 0:
            raise FrameError("a frame did not come in time.")
        connection.settimeout(left)
        try:
            part = connection.recv(min(AT_ONCE, n - len(found)))
        except TimeoutError as error:
            raise FrameError("a frame did not come in time.") from error
        if not part:
            raise ConnectionResetError("the other end has gone.")
        found += part
    return found


def answered(
    address: str, token: str, text: str, data: bytes, wait: float, patience: float = AWAY
) -> tuple[str, bytearray]:
    """Return what the process at an address answers within `wait` seconds, a text and data.

    Where it ends before it has answered it is asked again; ConnectionError where nobody listens for `patience` seconds.
    Refused: it has said that it will not.
    """
    end, seen, n_asked = time.monotonic() + wait, time.monotonic(), 0
    while True:
        try:
            with connect(address, token) as connection:
                seen, n_asked = time.monotonic(), n_asked + 1
                send(connection, text, data)
                return receive(connection, max(0.0, end - time.monotonic()))
        except Refused:
            raise
        except OSError as error:
            if n_asked >= TIMES or time.monotonic() > min(end, seen + patience):
                print(f"[FDRMFL] {address}: {error}", flush=True)
                said = "no process of the site answers at its socket; start `skfdrmfl site` there"
                raise ConnectionError(said) from error
            time.sleep(LOOK)


def is_loopback(address: str) -> bool:
    """Return whether an address is one of TCP, HOST:PORT, and no path."""
    host, colon, port = address.rpartition(":")
    return bool(colon) and port.isdecimal() and host in ("127.0.0.1", "localhost")


def connect(address: str, token: str = "") -> socket.socket:
    """Return a connection to who listens at an address; `token` is the file of the token that loopback asks for.

    OSError: nobody listens.
    """
    if is_loopback(address):
        host, _, port = address.rpartition(":")
        secret = Path(token).read_text(encoding="ascii").strip()
        connection = socket.create_connection((host, int(port)), LEAST_WAIT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(secret.encode())
        return connection
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def listen(address: str, token: str = "", group: str | None = None) -> tuple[socket.socket, bytes]:
    """Return a socket that listens at an address, and the secret that who connects has to begin with.

    A Unix socket is its owner's alone (mode 0600), or the group's too (0660). Loopback has a secret, which is written
    to the file `token` (mode 0600). OSError: another process listens there already.
    """
    if is_loopback(address):
        host, _, port = address.rpartition(":")
        server = socket.create_server((host, int(port)), backlog=64)
        secret = secrets.token_hex(N_TOKEN // 2)
        with suppress(FileNotFoundError):
            os.unlink(token)
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret)
        return server, secret.encode()
    if os.path.lexists(address):
        if not Path(address).is_socket():
            raise FileExistsError(f"{address} is there and no socket; pass another --socket.")
        if _answers(address):
            raise FileExistsError(f"another process answers at {address} already; end it, or pass another --socket.")
        os.unlink(address)  # left by a process that was killed
    server = socket.socket(socket.AF_UNIX)
    try:
        mask = os.umask(0o177)
        try:
            server.bind(address)
        finally:
            os.umask(mask)
        if group is not None:
            shutil.chown(address, group=group)
            os.chmod(address, 0o660)
        server.listen(64)
    except BaseException:
        server.close()
        raise
    return server, b""


def _answers(address: str) -> bool:
    try:
        connect(address).close()
    except OSError:
        return False
    return True
