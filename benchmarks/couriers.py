"""What a message costs a site, and whether fits go on where sites' processes and couriers are killed with signal 9.

    python benchmarks/couriers.py            # three minutes; the first table needs Flower, as .venv-flower has it
    python benchmarks/couriers.py --kills 5

1. CPU seconds of a message of a round, Tecator dealt to three sites: by a ClientApp that is all of the site
   (`skfdrmfl.flower.client_app`), by one that carries bytes to a site's process, and by one that a warm process has
   become; and Flower's part of it, its start. What the SuperNode itself spends is in none.
2. Fits over sockets of two sites, of which one is killed at a moment drawn from the time that an undisturbed fit takes,
   and started again; or a process that carries a message is, and sends it again. Compared are bits. Processes are real,
   Flower's are not: of these tests/flower/test_sites.py has a few.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, arguments, check, parser, save, table

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.packet import Packet, Request
from skfdrmfl.courier import warm
from skfdrmfl.courier.sockets import answered
from skfdrmfl.datasets import load_tecator
from skfdrmfl.site.listener import Listener
from skfdrmfl.site.process import SiteProcess
from skfdrmfl.site.site_data import site_of

sys.path.append(str(ROOT / "tests"))
from wire import Wire, fit_over, rows_of, wire_of

X, Y = load_tecator(return_X_y=True)
SITES = np.array(["a", "b", "c"])[np.arange(len(X)) % 3]
SETTINGS: dict[str, Any] = {"tuning": None, "n_rounds": 6, "random_state": 0}
ASKED = 0.25  # of what it was

# Both begin as Flower's own program does, with its imports, and answer a message that stands in a file.
START = """
import base64, json, sys, time
from importlib.metadata import entry_points
(command,) = entry_points(group="console_scripts", name="flwr-clientapp")
command.load()
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity
"""
ANSWER = """
TaskIdentity._run_id = TaskIdentity._node_id = TaskIdentity._task_id = 1
given = json.loads(open(sys.argv[1]).read())
def of(flat): return flat[0], base64.b64decode(flat[1])
"""
WHOLE = (
    START
    + ANSWER
    + """
from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.packet import Packet
from skfdrmfl.datasets import load_tecator
from skfdrmfl.flower import client_app
from skfdrmfl.flower._records import keep, put
X, y = load_tecator(return_X_y=True)
app = client_app(lambda context: (X[::3], y[::3]), FDRMFLTransformer(**given["settings"]))
context = Context(1, 1, {"client": "a"}, RecordDict(), {})
keep(context.state, {name: Packet.of_flat(*of(flat)) for name, flat in given["kept"].items()})
records = RecordDict()
put(records, "packet", Packet.of_flat(*of(given["packet"])))
reply = app(Message(records, 1, MessageType.QUERY), context)
assert len(reply.content.array_records["packet bytes"]["bytes"].data) > 1000
"""
)
CARRY = (
    ANSWER
    + """
sys.path.insert(0, given["app"])
from courier.client import app
from flwr.app import Array, ArrayRecord, ConfigRecord
text, data = of(given["packet"])
records = RecordDict({"packet text": ConfigRecord({"text": text})})
records["packet bytes"] = ArrayRecord({"bytes": Array("uint8", (len(data),), "skfdrmfl.bytes", data)})
context = Context(1, 1, {"socket": given["socket"]}, RecordDict(), {})
reply = app(Message(records, 1, MessageType.QUERY), context)
assert len(reply.content.array_records["packet bytes"]["bytes"].data) > 1000
"""
)
WARM = (
    START
    + """
import importlib.util
spec = importlib.util.spec_from_file_location("warm", {file!r})
warm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(warm)
def work():
    exec({carry!r}, globals())
    open({spent!r}, "w").write(str(time.process_time()))
warm.serve({address!r}, work)
"""
)


class Recorded(Wire):
    """Keeps what comes to site a in the third round, and what it has by then."""

    found: tuple[Packet, dict[str, Packet]] | None = None

    def answer(self, address: str, packet: Packet) -> Packet | None:
        request = Request.of_packet(packet)
        if request.what == "train" and request.round == 3 and self.sites[address]._rows.label == "a":
            self.found = packet, dict(self.kept[address])
        return super().answer(address, packet)


def cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def cost_of_messages(folder: Path, repeats: int) -> dict[str, float]:
    """CPU seconds of a message, the least of several."""
    from skfdrmfl.courier.app import write_app

    model = FDRMFLTransformer(**SETTINGS)
    wire = wire_of(model, X, Y, SITES, kind=Recorded)
    fit_over(wire, model)
    packet, kept = wire.found

    def flat(packet: Packet) -> list[str]:
        text, data = packet.flat()
        return [text, base64.b64encode(data).decode()]

    address = str(folder / "a.socket")
    site = SiteProcess(site_of(FDRMFLTransformer(**SETTINGS), lambda: (X[::3], Y[::3]), "a"))
    listener = Listener(address, site)
    threading.Thread(target=listener.serve, daemon=True).start()
    given = {"settings": SETTINGS, "packet": flat(packet), "kept": {name: flat(p) for name, p in kept.items()}}
    given |= {"app": str(write_app(folder / "app")), "socket": address}
    (folder / "given.json").write_text(json.dumps(given))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0"}
    spent: dict[str, list[float]] = {}

    def measure(name: str, command: list[str], of_another: Callable[[], float] = lambda: 0.0) -> None:
        site._kept = dict(kept)
        before = cpu(resource.RUSAGE_CHILDREN), cpu(resource.RUSAGE_SELF)
        subprocess.run(command, env=environment, check=True, cwd=folder)
        other = of_another()
        after = cpu(resource.RUSAGE_CHILDREN), cpu(resource.RUSAGE_SELF)
        spent.setdefault(name, []).append(sum(after) - sum(before) + other)

    place, written = str(folder / "warm.socket"), folder / "spent"
    serving = WARM.format(file=warm.__file__, carry=CARRY, spent=str(written), address=place)
    process = subprocess.Popen([sys.executable, "-c", serving], env=environment)
    stand_in = folder / "stand_in.py"
    stand_in.write_text(warm.STANDING_IN.format(python=sys.executable, address=place, program="/bin/false"))

    def of_the_warm() -> float:
        while not written.exists() or not written.read_text():
            time.sleep(0.01)
        seconds = float(written.read_text())
        written.unlink()
        return seconds

    try:
        while not Path(place).exists():
            time.sleep(0.05)
        file = str(folder / "given.json")
        for _ in range(repeats):
            measure("Flower alone", [sys.executable, "-c", START])
            measure("client_app", [sys.executable, "-c", WHOLE, file])
            measure("courier", [sys.executable, "-c", START + CARRY, file])
            measure("warm courier", [sys.executable, "-IS", str(stand_in), file], of_the_warm)
    finally:
        process.kill()
        process.wait()
        listener.close()
    return {name: min(seconds) for name, seconds in spent.items()}


def forked(work: Callable[[], None]) -> int:
    """The number of a new process that does some work and ends."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return child


class Killed(Wire):
    """Two sites in processes of their own, which start again when they are killed; so are couriers, if `n_couriers`."""

    wait = 30.0

    def __init__(self, folder: Path, rng: np.random.Generator, n_couriers: int):
        self.folder, self.rng, self.n_couriers, self.n_killed = folder, rng, n_couriers, 0
        self.labels, self.asked = ["north", "south"], []
        self.keepers = {label: forked(lambda label=label: self.keep(label)) for label in self.labels}  # type: ignore[misc]

    def keep(self, label: str) -> None:
        """Start a site again and again."""
        while True:
            child = forked(lambda: self.site(label).serve())
            (self.folder / label).write_text(str(child))
            os.waitpid(child, 0)

    def site(self, label: str) -> Listener:
        load = rows_of(X, Y, np.flatnonzero((np.arange(len(X)) % 2 == 1) == (label == "south")))
        return Listener(
            str(self.folder / f"{label}.socket"), SiteProcess(site_of(FDRMFLTransformer(**SETTINGS), load, label))
        )

    def addresses(self) -> list[str]:
        return self.labels

    def answer(self, address: str, packet: Packet) -> Packet:
        text, data = packet.flat()
        path = str(self.folder / f"{address}.socket")
        while self.n_couriers and self.rng.random() < 0.2:
            courier = forked(lambda: answered(path, "", text, data, 60.0) and None)
            time.sleep(self.rng.uniform(0.0, 0.02))
            os.kill(courier, signal.SIGKILL)
            os.waitpid(courier, 0)
            self.n_couriers, self.n_killed = self.n_couriers - 1, self.n_killed + 1
        back, data_back = answered(path, "", text, data, 60.0)
        return Packet.of_flat(back, bytes(data_back))

    def end(self) -> None:
        for label, keeper in self.keepers.items():
            os.kill(keeper, signal.SIGKILL)
            os.waitpid(keeper, 0)
            os.kill(int((self.folder / label).read_text()), signal.SIGKILL)


def killed_fits(n_kills: int, rng: np.random.Generator, *, couriers: bool) -> dict[str, int]:
    """Fits that were disturbed, kills in them, and how many ended in the bits of the undisturbed one."""
    counts = {"fits": 0, "kills": 0, "equal": 0}
    expected, duration = b"", 0.0
    while counts["fits"] < n_kills:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            channel = Killed(folder, rng, 3 if couriers and expected else 0)
            while not all((folder / f"{label}.socket").exists() for label in channel.labels):
                time.sleep(0.01)
            killer = 0
            if expected and not couriers:
                wait = rng.uniform(0.0, duration)

                def kill(wait: float = wait, folder: Path = folder) -> None:
                    time.sleep(wait)
                    os.kill(int((folder / "north").read_text()), signal.SIGKILL)

                killer = forked(kill)
            start = time.monotonic()
            try:
                model = fit_over(channel, FDRMFLTransformer(**SETTINGS))
            finally:
                channel.end()
            taken = time.monotonic() - start
            bits = model._fitted.models.tobytes() + model.transform(X).tobytes()
            if not expected:
                expected, duration = bits, taken
                continue
            late = killer and os.waitpid(killer, os.WNOHANG)[0] == 0  # the fit was faster
            if late:
                os.kill(killer, signal.SIGKILL)
                os.waitpid(killer, 0)
            n_killed = channel.n_killed if couriers else int(not late)
            if n_killed:
                counts["fits"] += 1
                counts["kills"] += n_killed
                counts["equal"] += bits == expected and not model.dropped_clients_
    return counts


def main() -> int:
    """Print both tables."""
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=20, help="fits with a kill, of each kind (default: %(default)s)")
    options.add_argument("--repeats", type=int, default=5, help="messages of each kind (default: %(default)s)")
    args = arguments(options, kills=2, repeats=1)
    rng = np.random.default_rng(0)
    killed = {kind: killed_fits(args.kills, rng, couriers=kind == "couriers") for kind in ("site", "couriers")}
    print("\n" + table(["killed", "fits", "kills", "equal"], [[k, *c.values()] for k, c in killed.items()]) + "\n")
    spent: dict[str, float] = {}
    if find_spec("flwr") is None:
        print("CPU of a message: Flower is not installed here.")
    else:
        with tempfile.TemporaryDirectory() as name:
            spent = cost_of_messages(Path(name), args.repeats)
        whole, flower = spent["client_app"], spent["Flower alone"]
        rows = [[kind, f"{s:.2f}", f"{s / whole:.2f}", check(s / whole, ASKED)] for kind, s in spent.items()]
        print(table(["a message by", "CPU, s", "over client_app", "asked"], rows))
        # A warm courier has no part that is Flower's start, so all of it counts as ours.
        ours = {kind: spent[kind] - flower for kind in ("client_app", "courier")} | {"warm": spent["warm courier"]}
        print("Ours, s: " + ", ".join(f"{kind} {s:.2f} ({s / ours['client_app']:.2f})" for kind, s in ours.items()))
    save(args.out, "couriers", {"killed": killed, "seconds": spent})
    return 0 if all(c["equal"] == c["fits"] for c in killed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
