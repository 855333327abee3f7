"""Frames over sockets of one machine, who may connect, and that nothing that comes ends, stops or bloats them."""

import ast
import os
import resource
import socket
import stat
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sites_on_sockets import listening

from skfdrmfl.clients.remote.packet import WireError
from skfdrmfl.courier import app, sockets
from skfdrmfl.courier.sockets import (
    HEADER,
    MOST_TEXT,
    SAYS,
    FrameError,
    Refused,
    answered,
    connect,
    listen,
    receive,
    send,
)
from skfdrmfl.site import listener


def echo(text, data):
    return text[::-1], bytes(data[::-1])


@pytest.fixture(params=["unix", "loopback"])
def place(request, tmp_path):
    """An address, and the file of its token."""
    if request.param == "unix":
        return str(tmp_path / "a.socket"), ""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}", str(tmp_path / "token")


@pytest.mark.parametrize("size", [0, 1, 100_000, 3 * 2**20])
def test_a_frame_comes_back_as_it_was_answered(place, size):
    address, token = place
    data = np.random.default_rng(size).bytes(size)
    with listening(address, echo, token=token):
        assert answered(address, token, "aé", data, 10.0) == ("éa", data[::-1])


def test_a_socket_is_its_owners_alone_and_so_is_a_token(tmp_path):
    server, secret = listen(str(tmp_path / "a.socket"))
    server.close()
    assert secret == b"" and stat.S_IMODE(os.stat(tmp_path / "a.socket").st_mode) == 0o600
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, secret = listen(f"127.0.0.1:{port}", str(tmp_path / "token"))
    server.close()
    assert stat.S_IMODE(os.stat(tmp_path / "token").st_mode) == 0o600 and len(secret) == 64


def test_a_group_may_use_a_socket_that_is_shared_with_it(tmp_path):
    import grp

    group = grp.getgrgid(os.getgid()).gr_name
    server, _ = listen(str(tmp_path / "a.socket"), group=group)
    server.close()
    found = os.stat(tmp_path / "a.socket")
    assert stat.S_IMODE(found.st_mode) == 0o660 and found.st_gid == os.getgid()


def test_an_address_has_one_process_and_what_a_killed_one_left_is_taken_over(tmp_path):
    address = str(tmp_path / "a.socket")
    with listening(address, echo), pytest.raises(FileExistsError, match="another process answers"):
        listen(address)
    assert Path(address).exists()
    with listening(address, echo):
        assert answered(address, "", "ab", b"", 10.0) == ("ba", b"")
    (tmp_path / "rows.csv").write_text("1")
    with pytest.raises(FileExistsError, match="no socket"):
        listen(str(tmp_path / "rows.csv"))
    assert (tmp_path / "rows.csv").read_text() == "1"


def test_without_the_token_nothing_is_answered(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    asked = []
    with listening(address, lambda *frame: asked.append(frame), token=str(tmp_path / "token")):
        (tmp_path / "wrong").write_text("0" * 64)
        with pytest.raises(ConnectionError), connect(address, str(tmp_path / "wrong")) as connection:
            send(connection, "rows, please")
            receive(connection, 5.0)
    assert asked == []


def test_what_ends_in_an_error_is_refused_and_says_no_more_than_it_may(tmp_path):
    def answer(text, data):
        raise WireError("a message is damaged") if text == "wire" else ValueError("row 7 holds 123.456")

    with listening(tmp_path / "a", answer):
        with pytest.raises(Refused, match="^a message is damaged$"):
            answered(str(tmp_path / "a"), "", "wire", b"", 10.0)
        with pytest.raises(Refused, match="^ValueError$"):
            answered(str(tmp_path / "a"), "", "", b"", 10.0)


@pytest.mark.parametrize(("wait", "patience"), [(0.0, 60.0), (60.0, 0.0)])
def test_who_is_not_there_is_waited_for_no_longer_than_the_wait_or_the_patience(tmp_path, monkeypatch, wait, patience):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits on"))
    with pytest.raises(ConnectionError, match="no process of the site answers"):
        answered(str(tmp_path / "nobody"), "", "ab", b"", wait, patience)


def test_nobody_listening_is_an_error_after_patience_and_who_comes_late_is_still_asked(tmp_path):
    address = str(tmp_path / "a")
    with pytest.raises(ConnectionError, match="no process of the site answers"):
        answered(address, "", "ab", b"", 10.0, 0.1)
    found = []
    late = threading.Thread(target=lambda: found.append(answered(address, "", "ab", b"", 20.0, 20.0)))
    late.start()
    time.sleep(0.1)
    with listening(address, echo):
        late.join(10)
    assert found == [("ba", b"")]


def hostile(rng):
    """Bytes that nobody who means well sends."""
    kind = rng.integers(6)
    if kind == 0:
        return rng.bytes(int(rng.integers(1, 400)))
    if kind == 1:  # huge headers
        return HEADER.pack(SAYS, int(rng.integers(MOST_TEXT, 2**32)), int(rng.integers(2**63)))
    if kind == 2:  # of what is announced, a part comes
        return HEADER.pack(SAYS, 100, 2**28) + rng.bytes(1000)
    if kind == 3:  # no UTF-8
        return HEADER.pack(SAYS, 4, 0) + b"\xff\xfe\xfd\xfc"
    if kind == 4:  # another kind of frame
        return struct.pack("<4sIQ", b"HTTP", 3, 3) + b"abcdef"
    return HEADER.pack(SAYS, 0, 0)[: int(rng.integers(16))]


def test_a_thousand_hostile_connections_end_stop_and_bloat_nothing(tmp_path):
    rng = np.random.default_rng(0)
    address = str(tmp_path / "a")
    asked = []

    def answer(text, data):
        asked.append((text, len(data)))
        return echo(text, data)

    with listening(address, answer, most_data=2**28):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for i in range(1000):
            with suppress(OSError), connect(address) as connection:
                connection.settimeout(5.0)
                connection.sendall(hostile(rng))
            if i % 100 == 0:
                assert answered(address, "", f"{i}", b"x", 10.0) == (f"{i}"[::-1], b"x")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert answered(address, "", "ab", b"", 10.0) == ("ba", b"")
    assert {(text, n) for text, n in asked if text} == {*((f"{i}", 1) for i in range(0, 1000, 100)), ("ab", 0)}
    assert all(n == 0 for text, n in asked if not text)  # an empty frame is a frame
    assert after - before < 30_000, "kB; a quarter of a gigabyte was announced again and again"


def test_slow_and_many_connections_hold_nobody_up_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(listener, "LEAST_WAIT", 0.2)
    monkeypatch.setattr(sockets, "LEAST_WAIT", 0.2)
    address = str(tmp_path / "a")
    with listening(address, echo):
        slow = [connect(address) for _ in range(2 * listener.MOST_CONNECTIONS)]
        with suppress(OSError):
            slow[0].sendall(HEADER.pack(SAYS, 5, 2**28) + b"abcde")  # a large one, of which no more comes
        assert answered(address, "", "ab", b"", 30.0) == ("ba", b"")
        for connection in slow:
            connection.close()


def test_large_questions_are_in_memory_one_at_a_time(tmp_path):
    inside, most = [0], [0]
    lock = threading.Lock()

    class Counting(listener.Listener):
        def _reply(self, *arguments):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            super()._reply(*arguments)
            with lock:
                inside[0] -= 1

    served = Counting(str(tmp_path / "a"), echo)
    threading.Thread(target=served.serve).start()
    data = bytes(2 * listener.SMALL)
    asking = [threading.Thread(target=answered, args=(served.address, "", "ab", data, 30.0)) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    served.close()
    assert most == [1]


def test_a_frame_is_within_its_limits_and_in_time():
    one, other = socket.socketpair()
    with one, other:
        one.sendall(HEADER.pack(SAYS, 0, 11))
        with pytest.raises(FrameError, match="of 8388608 \\+ 10 at most"):
            receive(other, 1.0, most_data=10)
        with pytest.raises(FrameError, match="in time"):
            receive(other, 0.05)


def test_what_goes_over_the_network_imports_flower_and_nothing_of_ours():
    folder = Path(app.__file__).parent
    found = set()
    for name in app.FILES:
        for node in ast.walk(ast.parse((folder / name).read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
            elif isinstance(node, ast.ImportFrom):
                assert f"{node.module}.py" in app.FILES and node.level == 1
    assert found - set(sys.stdlib_module_names) == {"flwr"}


def test_the_app_is_these_files_and_a_project(tmp_path):
    import tomllib

    app.write_app(tmp_path / "app")
    found = {path.relative_to(tmp_path / "app").as_posix() for path in (tmp_path / "app").rglob("*") if path.is_file()}
    assert found == {"pyproject.toml", *(f"courier/{name}" for name in app.FILES)}
    assert tomllib.loads((tmp_path / "app" / "pyproject.toml").read_text())["project"]["dependencies"] == []
