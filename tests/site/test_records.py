"""Records of sites that are processes of their own are the server's ledger, to the message."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from wire import rows_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.audit import Audit, differences, read_audit
from skfdrmfl.clients.remote.packet import Packet
from skfdrmfl.courier.sockets import answered
from skfdrmfl.site.listener import Listener
from skfdrmfl.site.process import SiteProcess
from skfdrmfl.site.remote_fit import fit_over_channel
from skfdrmfl.site.site_data import site_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="sites are forked from one process"),
]
TESTS = Path(__file__).parents[1]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 6))
Y = X[:, 0] + 0.1 * RNG.standard_normal(90)
SITES = np.array(["north", "south", "west"])[np.arange(90) % 3]
HOLES = np.where((SITES == "west")[:, None] & (np.arange(6) >= 4), np.nan, X)
FRAME = pd.DataFrame({"n": X[:, 0], "kind": np.where((X[:, 2] > 0) & (SITES == "west"), "up", "down"), "m": X[:, 1]})
CONFIGURATIONS = {
    "network": ({}, X),
    "mixture": ({"tuning": "mixture"}, X),
    "missing": ({"modalities": {"a": slice(0, 4), "b": slice(4, None)}}, HOLES),
    "categories": ({}, FRAME),
    "stopping": ({"early_stopping": True, "n_iter_no_change": 1}, X),
    "private": (
        {
            "preprocessing": "standardize",
            "dp_noise_multiplier": 1.0,
            "dp_clip_norm": 0.1,
            "dp_bounds": {"X": (-4, 4), "y": (-4, 4)},
        },
        X,
    ),
}


def estimator(**parameters):
    return FDRMFLTransformer(**({"tuning": None, "n_rounds": 3, "local_epochs": 1, "random_state": 0} | parameters))


def serve(folder):
    """Let each site of each configuration answer from a process of its own, until standard input ends."""
    import torch._dynamo  # noqa: F401 - what training in torch imports, once and not in each process

    children = []
    for name, (parameters, table) in CONFIGURATIONS.items():
        for label in np.unique(SITES).tolist():
            load, record = rows_of(table, Y, np.flatnonzero(label == SITES)), folder / f"{name}.{label}.jsonl"
            child = os.fork()
            if not child:
                site = site_of(estimator(**parameters), load, label, [Audit(record, label)])
                Listener(str(folder / f"{name}.{label}.socket"), SiteProcess(site)).serve()
                os._exit(1)
            children.append(child)
    print("ready", flush=True)
    sys.stdin.read()
    for child in children:
        os.kill(child, signal.SIGKILL)


class Sockets:
    """A channel to the sites of a configuration."""

    wait = 10.0

    def __init__(self, folder, name):
        self.paths = {label: str(folder / f"{name}.{label}.socket") for label in np.unique(SITES).tolist()}

    def addresses(self):
        return list(self.paths)

    def ask(self, packets):
        return {
            label: Packet.of_flat(*answered(self.paths[label], "", *packet.flat(), 60.0))
            for label, packet in packets.items()
        }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites")
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as sites:
        assert sites.stdout.readline() == b"ready\n"
        yield folder


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_records_of_processes_are_the_ledger(folder, name):
    model = fit_over_channel(estimator(**CONFIGURATIONS[name][0]), Sockets(folder, name))
    records = {label: read_audit(folder / f"{name}.{label}.jsonl") for label in np.unique(SITES).tolist()}
    log = model.federation_log_
    assert differences(log, records) == []
    there = Counter(
        (e["round"], e["what"], json.dumps(e["shape"])) for of in records.values() for e in of if e["counted"]
    )
    ledger = Counter()
    for m in log:
        if m.direction == "up":
            ledger[m.round, m.what.removeprefix("mixture: "), json.dumps(m.shape)] += m.clients
    assert there == ledger


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
