"""What the tests run on Flower: settings come from the file that SKFDRMFL_TEST names."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator
from skfdrmfl.flower import client_app, server_app

SETTINGS = json.loads(Path(os.environ["SKFDRMFL_TEST"]).read_text())
LABELS = SETTINGS.get("labels", ["a", "b", "c"])


def problem():
    """Rows, one output, and who holds them."""
    X, y = load_tecator(return_X_y=True)
    return X, y, np.array(LABELS)[np.arange(len(X)) % len(LABELS)]


def load_data(context):
    """The rows of one client; faults happen here, as they would to a user."""
    X, y, ids = problem()
    mine = ids == context.node_config["client"]
    fault(context.node_config["client"])
    return X[mine], y[mine]


def fault(client):
    """Do what the settings say should happen to a client, once each time its message number is reached."""
    for name, number in SETTINGS.get("faults", {}).get(client, {}).items():
        counter = Path(SETTINGS["folder"]) / f"{client}.{name}"
        n = int(counter.read_text()) + 1 if counter.exists() else 1
        counter.write_text(str(n))
        if n == number:
            if name == "kill":  # the SuperNode and all it has started
                os.killpg(int((Path(SETTINGS["folder"]) / f"node {client}").read_text()), signal.SIGKILL)
            if name == "late":
                time.sleep(SETTINGS["late"])
            if name == "raise":
                raise ValueError("row 7 holds secret 123.456")


def spoiled(app, by_round):
    """The ClientApp of a client that sends what nobody asked for, in some rounds."""
    from skfdrmfl.clients.remote import site

    train = site._train

    def changed(training, models, about, *more):
        sent = train(training, models, about, *more)
        what = (by_round + [""] * 100)[about["round"]]
        if what == "nan":
            sent["weights"] = np.full_like(sent["weights"], np.nan)
        if what == "shape":
            sent["weights"] = sent["weights"][:, 1:]
        return sent

    site._train = changed
    return app


estimator = FDRMFLTransformer(tuning=None, **SETTINGS["parameters"])
client = client_app(load_data, estimator)
server = server_app(estimator, SETTINGS["output"])
for label, what in SETTINGS.get("spoiled", {}).items():
    if os.environ.get("SKFDRMFL_CLIENT") == label:
        client = spoiled(client, what)
