"""Sites that answer on sockets, each in a thread, and a channel to them such as couriers make."""

import threading
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
from wire import Wire, rows_of

from skfdrmfl.clients.remote.packet import Packet
from skfdrmfl.courier.sockets import answered
from skfdrmfl.site.listener import Listener
from skfdrmfl.site.process import SiteProcess, Teller
from skfdrmfl.site.site_data import site_of


@contextmanager
def listening(address, answer, **options):
    """A listener that serves in a thread, and closes."""
    listener = Listener(str(address), answer, **options)
    thread = threading.Thread(target=listener.serve)
    thread.start()
    try:
        yield listener
    finally:
        listener.close()
        thread.join(10)
        assert not thread.is_alive()


class OnSockets(Wire):
    """Sites of one label each, behind sockets in a folder; a site can be ended and started again."""

    def __init__(self, folder, estimator, X, y, ids):
        self.folder, self.running, self.said, self.asked, self.n_read = folder, {}, [], [], 0
        self.labels = np.unique(ids).tolist()
        self.make = {
            label: lambda label=label: site_of(
                estimator, self.read(rows_of(X, y, ids == label)), label, [Teller(partial(self.tell, label))]
            )
            for label in self.labels
        }

    def read(self, load):
        def once():
            self.n_read += 1
            return load()

        return once

    def tell(self, label, line):
        self.said.append((label, line))

    def addresses(self):
        return list(self.running)

    def start(self, label):
        """Start a site, which knows nothing of what was before."""
        stack = ExitStack()
        process = SiteProcess(self.make[label]())
        stack.enter_context(listening(self.folder / f"{label}.socket", process))
        self.running[label] = stack
        return process

    def end(self, label):
        self.running.pop(label).close()

    def answer(self, address, packet):
        text, data = answered(str(self.folder / f"{address}.socket"), "", *packet.flat(), 60.0, 5.0)
        return Packet.of_flat(text, bytes(data))

    def __enter__(self):
        for label in self.labels:
            self.start(label)
        return self

    def __exit__(self, *exception):
        for label in list(self.running):
            self.end(label)
