"""`skfdrmfl site`, `skfdrmfl server` and what is started beside them: processes, each with its output in a file."""

import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from flower_certificates import certificates, node_key
from flower_processes import ROOT, free_port

MODEL = ("--tuning", "none", "--set", "n_rounds=2")


class Commands:
    """Commands of the package in a folder, each with its output in a file; all end with `stack`.

    Parameters
    ----------
    tables : dict of str to ndarray
        Of each site, X with y as its last column.
    model : tuple of str
        Options of the estimator, at all ends.
    """

    def __init__(self, folder, stack, tables, model=MODEL):
        self.folder, self.running, self.tls, self.model = Path(folder), {}, None, model
        self.port = free_port()
        self.environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        stack.callback(self.end)
        self.labels = list(tables)
        for label, rows in tables.items():
            with open(self.folder / f"{label}.csv", "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow([*(f"nir__{i}" for i in range(rows.shape[1] - 1)), "fat"])
                writer.writerows(np.asarray(rows).tolist())

    def start(self, name, *arguments):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "skfdrmfl", *map(str, arguments)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.folder,
            )

    def secure(self):
        """Let what is started have certificates, and a key for each site."""
        self.tls = certificates(self.folder / "tls")
        self.keys = {label: node_key(self.folder / "tls" / label) for label in self.labels}

    def start_site(self, label, *more):
        rows = ("--label", label, "--data", f"{label}.csv", "--target", "fat", "--socket", f"{label}.socket")
        node = ("--supernode", f"127.0.0.1:{self.port}", "--audit", f"{label}.jsonl")
        if self.tls:
            node = (*node, "--root-certificates", self.tls["ca"], "--auth-key", self.keys[label]["private"])
        self.start(label, "site", *rows, *node, *self.model, *more)

    def start_server(self, *more):
        where = ("--listen", f"127.0.0.1:{self.port}", "--output", "model.skfdrmfl")
        if self.tls:
            where = (*where, "--certificate", self.tls["certificate"], "--key", self.tls["key"])
            where = (*where, "--root-certificates", self.tls["ca"])
            where = (*where, *(part for key in self.keys.values() for part in ("--site-key", key["public"])))
        self.start("server", "server", *where, *self.model, *more)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_for(self, name, pattern, limit):
        end = time.monotonic() + limit
        while not re.search(pattern, self.said(name)):
            assert time.monotonic() < end, (
                f"{name} has not said {pattern!r} within {limit} s:\n{self.said(name)[-3000:]}"
            )
            time.sleep(0.1)

    def end(self):
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
