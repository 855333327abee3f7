"""Fits over a real federation of Flower: what kills leave, whether audit files are the ledger, seconds of a round.

    .venv-flower/bin/python benchmarks/federation.py       # half an hour; `make test-flower` sets the environment up
    .venv-flower/bin/python benchmarks/federation.py --kills 3 --configurations network

Each fit is `skfdrmfl server` with a SuperLink and, for each site, `skfdrmfl site` with a SuperNode: processes of this
machine over loopback, Tecator dealt to them.

1. Kills with signal 9, many in one fit each: of a site's process, which is started again, and of a courier, the process
   that carries one message. Compared are the bits of the model with those of a fit in one memory.
2. For each configuration the audit files of the sites and the server's ledger, entry by entry.
3. Seconds of a round with three sites, Flower's own waiting among them.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, arguments, parser, save, table

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.audit import differences, read_audit
from skfdrmfl.datasets import load_tecator

sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "flower")]

X, Y = load_tecator(return_X_y=True)
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "network": (),
    "mixture": ("--tuning", "mixture"),
    "scaffold": ("--set", "algorithm=scaffold"),
    "early stopping": ("--set", "early_stopping=True", "--set", "n_iter_no_change=1"),
    "median": ("--set", "aggregation=median"),
}
NETWORK = ("--tuning", "none")
PROC = Path("/proc")


def sites_of(n_sites: int) -> np.ndarray:
    return np.array(["north", "south", "west"])[np.arange(len(X)) % n_sites]


class Federation:
    """Commands of a fit in a folder of its own, which end with it."""

    def __init__(self, stack: ExitStack, *options: str, n_sites: int = 2):
        from flower_commands import Commands

        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.ids = sites_of(n_sites)
        rows = np.column_stack([X, Y])
        tables = {str(label): rows[self.ids == label] for label in np.unique(self.ids)}
        self.commands = Commands(self.folder, stack, tables, model=options)
        for label in tables:
            self.commands.start_site(label)
        self.commands.start_server("--sites", ",".join(tables), "--target", "fat")
        self.server = self.commands.running["server"]

    def rounds_over(self) -> int:
        """The number of rounds that the server has said are over."""
        found = re.findall(r"round (\d+)/", self.commands.said("server"))
        return int(found[-1]) if found else 0

    def wait_for_round(self, n: int) -> float:
        """Wait until so many rounds are over, or the server has ended; return when."""
        while self.rounds_over() < n and self.server.poll() is None:
            time.sleep(0.05)
        return time.monotonic()

    def model(self) -> FDRMFLTransformer:
        """What the server has written when it has ended well."""
        if self.server.wait(3600) != 0:
            raise SystemExit(f"the server ended with status {self.server.returncode}:\n{self.commands.said('server')}")
        return FDRMFLTransformer.load(self.folder / "model.skfdrmfl")


def started_by(process: int) -> list[int]:
    """Return what a process has started, and what that has."""
    children: list[int] = []
    for task in (PROC / str(process) / "task").glob("*/children"):
        with suppress(OSError):
            children += map(int, task.read_text().split())
    return children + [n for child in children for n in started_by(child)]


def couriers_of(site: int) -> list[int]:
    """Return the processes that carry a message of a site now: what its warm process has forked."""
    for number in started_by(site):
        with suppress(OSError):
            command = (PROC / str(number) / "cmdline").read_bytes().split(b"\0")
            if any(word.endswith(b"/warm.py") for word in command) and b"-c" not in command:
                return started_by(number)
    return []


def kill(number: int) -> bool:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def killed_sites(federation: Federation, n_kills: int, rng: np.random.Generator) -> int:
    """Kill a site's process at drawn moments of the rounds and start it again; return how often."""
    for done in range(n_kills):
        federation.wait_for_round(federation.rounds_over() + 1 if done else 1)
        if federation.server.poll() is not None:
            return done
        time.sleep(rng.uniform(0.0, 4.0))
        site = federation.commands.running["north"]
        site.kill()
        site.wait()
        federation.commands.start_site("north")
    return n_kills


def killed_couriers(federation: Federation, n_kills: int, rng: np.random.Generator) -> int:
    """Kill processes that carry a message, one a round; return how often."""
    done, seen, site = 0, 0, federation.commands.running["north"].pid
    while done < n_kills and federation.server.poll() is None:
        couriers = couriers_of(site) if federation.rounds_over() > seen else []
        if couriers:
            time.sleep(rng.uniform(0.0, 0.02))
            if kill(couriers[0]):
                done, seen = done + 1, federation.rounds_over()
        time.sleep(0.002)
    return done


def fit_here(ids: np.ndarray, **parameters: Any) -> FDRMFLTransformer:
    return FDRMFLTransformer(tuning=None, random_state=0, **parameters).fit(X, Y, client_ids=ids)


def main() -> int:
    """Print what has been found, as it is."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=20, help="of each kind (default: %(default)s)")
    options.add_argument(
        "--configurations", default=",".join(CONFIGURATIONS), help="separated by commas (default: %(default)s)"
    )
    options.add_argument("--rounds", type=int, default=20, help="of the fit that is timed (default: %(default)s)")
    args = arguments(options, kills=0, configurations="", rounds=0)
    if find_spec("flwr") is None:
        print("left out: all of it, as Flower is not installed here")
        return 0
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for what, strike in {"site": killed_sites, "courier": killed_couriers}.items() if args.kills else ():
        n_rounds = 2 * args.kills + 5
        with ExitStack() as stack:
            federation = Federation(stack, *NETWORK, "--set", f"n_rounds={n_rounds}")
            n = strike(federation, args.kills, rng)
            model = federation.model()
            equal = (
                model._fitted.models.tobytes() == fit_here(federation.ids, n_rounds=n_rounds)._fitted.models.tobytes()
            )
        found[what] = {"kills": n, "equal": equal, "left out": len(model.dropped_clients_)}
        print(
            table(["killed", "kills", "bits equal", "sites left out"], [[what, n, equal, len(model.dropped_clients_)]])
        )
    for name in filter(None, args.configurations.split(",")):
        with ExitStack() as stack:
            federation = Federation(stack, *NETWORK, "--set", "n_rounds=2", *CONFIGURATIONS[name])
            model = federation.model()
            records = {str(s): read_audit(federation.folder / f"{s}.jsonl") for s in np.unique(federation.ids)}
        unlike = differences(model.federation_log_, records)
        found[name] = {"entries": sum(map(len, records.values())), "differences": len(unlike)}
        print("\n" + table(["configuration", "audit entries", "unlike the ledger"], [[name, *found[name].values()]]))
    if args.rounds:
        with ExitStack() as stack:
            federation = Federation(stack, *NETWORK, "--set", f"n_rounds={args.rounds}", n_sites=3)
            start = federation.wait_for_round(1)
            first = federation.rounds_over()
            seconds = (federation.wait_for_round(args.rounds) - start) / (args.rounds - first)
            federation.model()
        found["seconds of a round"] = seconds
        print(f"A round of three sites: {seconds:.1f} s.")
    save(args.out, "federation", found)
    right = all(
        entry.get("equal", True) and not entry.get("differences") for entry in found.values() if isinstance(entry, dict)
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
