"""Who answers frames on a local socket, whatever comes: random bytes, huge headers, slow clients, many of them."""

from __future__ import annotations

import hmac
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from skfdrmfl.clients.remote.packet import WireError
from skfdrmfl.courier.sockets import HEADER, LEAST_WAIT, N_TOKEN, REFUSES, FrameError, listen, receive, send, take

_log = logging.getLogger("skfdrmfl")

# Bytes of a question at most, and of one that may be read while another is being answered.
MOST_DATA, SMALL = 2**28, 2**18
# Connections at a time; those beyond are closed, and a courier comes again.
MOST_CONNECTIONS = 32

Answer = Callable[[str, bytearray], tuple[str, bytes]]


class Listener:
    """Answers frames at an address, one after another; `token` and `group` are those of `sockets.listen`.

    Memory holds one large question, of `most_data` bytes at most: others wait until it is answered and the answer
    taken. Of a WireError that `answer` raises the text is told, of other errors the type alone.
    """

    def __init__(
        self, address: str, answer: Answer, *, token: str = "", group: str | None = None, most_data: int = MOST_DATA
    ):
        self.address, self._answer, self._most_data = address, answer, most_data
        self._server, self._secret = listen(address, token, group)
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._turn = threading.Lock()

    def serve(self) -> None:
        """Answer until the listener is closed."""
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return  # closed
            if not self._places.acquire(blocking=False):
                connection.close()
                continue
            try:
                threading.Thread(target=self._attend, args=(connection,), daemon=True).start()
            except RuntimeError:  # no thread can be had
                self._places.release()
                connection.close()

    def close(self) -> None:
        """Answer no more."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # or `accept` goes on waiting
        self._server.close()

    def _attend(self, connection: socket.socket) -> None:
        """Answer one question; what is none is not answered."""
        try:
            with connection:
                if self._secret and not hmac.compare_digest(take(connection, N_TOKEN, LEAST_WAIT), self._secret):
                    raise FrameError("a connection without the token.")
                header = take(connection, HEADER.size, LEAST_WAIT)
                _, n_text, n_data = HEADER.unpack(header)
                if n_text + n_data > SMALL:
                    with self._turn:
                        self._reply(connection, *receive(connection, None, self._most_data, header))
                else:
                    text, data = receive(connection, None, self._most_data, header)
                    with self._turn:
                        self._reply(connection, text, data)
        except OSError as error:
            _log.info("%s: a connection ended: %s", self.address, error)
        except Exception:
            _log.exception("%s: a connection failed", self.address)
        finally:
            self._places.release()

    def _reply(self, connection: socket.socket, text: str, data: bytearray) -> None:
        """Send what the answer is, or that there is none."""
        try:
            said, back = self._answer(text, data)
        except Exception as error:
            # What errors say may quote rows: that stays here.
            _log.exception("%s: no answer could be given", self.address)
            send(connection, str(error) if isinstance(error, WireError) else type(error).__name__, kind=REFUSES)
            return
        send(connection, said, back, wait=LEAST_WAIT + len(back) / SMALL)
