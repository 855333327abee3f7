"""A channel in one memory through which packets go as bytes, as over a network."""

import copy
from functools import cached_property

import numpy as np

from skfdrmfl.clients.remote.channel import Loopback
from skfdrmfl.clients.remote.codec import from_packet
from skfdrmfl.clients.remote.packet import Packet, Request
from skfdrmfl.site.remote_fit import fit_over_channel
from skfdrmfl.site.site_data import site_of


class Asked:
    """A `Request` that was sent, read when somebody looks at it."""

    def __init__(self, packet):
        self._packet = packet

    @cached_property
    def _request(self):
        return Request.of_packet(self._packet)

    def __getattr__(self, name):
        return getattr(self._request, name)


class Wire(Loopback):
    """Clients by address, in another order than by label; answers come in another order than questions.

    Attributes
    ----------
    asked : list of tuple
        Address, `Request`, and bytes of request and answer.
    """

    def __init__(self, sites):
        super().__init__(sites)
        self.asked = []

    def ask(self, packets):
        answers = {}
        for address, packet in reversed(packets.items()):
            if (answer := self.answer(address, packet)) is not None:
                answers[address] = answer
        return answers

    def answer(self, address, packet):
        """What one client answers, or None; tests put faults here."""
        text, data = packet.flat()
        answer, self.kept[address] = self.sites[address].answer(Packet.of_flat(text, data), self.kept[address])
        back, back_data = answer.flat()
        self.asked.append((address, Asked(packet), len(text) + len(data), len(back) + len(back_data)))
        return Packet.of_flat(back, back_data)


class Stopping(Wire):
    """Ctrl-C at the server in round 3."""

    def answer(self, address, packet):
        request = Request.of_packet(packet)
        if request.what == "train" and from_packet(request.about)["round"] == 3:
            raise KeyboardInterrupt
        return super().answer(address, packet)


class Processes(Wire):
    """Clients of whom each message is answered by a process of its own, as over Flower."""

    def answer(self, address, packet):
        site = self.sites[address]
        self.sites[address] = copy.deepcopy(site)
        try:
            return super().answer(address, packet)
        finally:
            self.sites[address] = site


def rows_of(X, y, mine, groups=None):
    """A load_data for some rows."""
    X = X[mine] if isinstance(X, np.ndarray) else X.iloc[mine]
    return lambda: (X, y[mine]) if groups is None else (X, y[mine], groups[mine])


def wire_of(estimator, X, y, ids, groups=None, kind=Wire):
    """A channel to one client a label."""
    labels = np.unique(ids).tolist()
    places = np.random.default_rng(3).permutation(len(labels)).tolist()
    return kind(
        {
            f"node {place}": site_of(estimator, rows_of(X, y, np.flatnonzero(ids == label), groups), label)
            for label, place in zip(labels, places, strict=True)
        }
    )


def fit_over(channel, estimator):
    """The estimator, fitted over a channel."""
    return fit_over_channel(estimator, channel)
