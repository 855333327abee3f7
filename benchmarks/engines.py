"""Speed of one round of federated averaging, against other ways to compute the same.

    python benchmarks/engines.py
    python benchmarks/engines.py --env flower=/path/to/python --env pfl=... --env fluke=... --env fedlab=...
    python benchmarks/engines.py --only speed losses     # some of: speed losses clients memory fresh profile tuning

The work is in `competitors/workload.py`: K clients of 64 rows x 100 columns, MLP 100-64-64-8-2-1 with silu,
3 epochs in batches of 32, a fresh AdamW a client and round, mean squared error only. Everybody starts from the
same weights. After the same number of rounds, the global model's training error must agree to 5 % (the
order of the rows differs), or the row says so.

All that runs in this process uses one thread. Contenders take turns; a sample is a stretch of rounds of about
`--sample` seconds, so that what else the machine does disturbs all alike, and medians are shown. Other
frameworks run in environments of their own (see benchmarks/README.md): give each one's Python by `--env` or in
the environment variable SKFDRMFL_BENCH_FLOWER, ..._PFL, ..._FLUKE, ..._FEDLAB; those not given are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import ROOT, check, interleaved, note, parser, save, table
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skfdrmfl.data.partition import Partition
from skfdrmfl.encoders import DenseEncoder
from skfdrmfl.federation.engines import stacked
from skfdrmfl.federation.engines.rows import Run
from skfdrmfl.federation.runs import Schedule, Settings, Start
from skfdrmfl.federation.simulation import LocalTraining
from skfdrmfl.federation.trained import Trained
from skfdrmfl.federation.training import train
from skfdrmfl.model.fusion import ConcatFusion
from skfdrmfl.model.network import Network

COMPETITORS = Path(__file__).resolve().parent / "competitors"
sys.path.insert(0, str(COMPETITORS))
import workload  # noqa: E402

KS = (3, 30, 300)
CHECK_ROUNDS = {3: 5, 30: 4, 300: 3}  # rounds after which losses are compared
TOLERANCE = 0.05
STACKED, LOOP = "skfdrmfl, stacked", "skfdrmfl, loop"
PLAIN, LEAN = "PyTorch loop, DataLoader, AdamW", "PyTorch loop, slices, fused AdamW"
CENTRAL, LEAN_CENTRAL = "one central model, DataLoader, AdamW", "one central model, slices, fused AdamW"
OUR_CENTRAL = "one central model, skfdrmfl"
FRAMEWORKS = {"flower": "Flower simulation (Ray)", "pfl": "pfl", "fluke": "fluke", "fedlab": "FedLab"}
ASKED_PLAIN = {3: 7.0, 30: 15.0, 300: 15.0}
ASKED_FASTEST = {3: 7.0, 30: 12.0, 300: 12.0}
ASKED_FLOWER = {3: 40.0, 300: 40.0}
ASKED_LOSSES, ASKED_CENTRAL, ASKED_CLIENTS, ASKED_MB = 2.5, 0.35, 1.3, 400.0
CHUNKS = (500_000, 1_500_000, 3_000_000, 6_000_000, 12_000_000, 48_000_000)  # bytes
NO_TERMS, ALL_TERMS = (0.0, 0.0, 0.0), (1e-3, 1e-3, 1e-3)


# ------------------------------------------------------------------------------------------ contenders


class Ours:
    """skfdrmfl's engines on the rows of `workload`, without the scikit-learn face."""

    def __init__(
        self,
        n_clients: int,
        engine: str = "stacked",
        *,
        terms: tuple[float, float, float] = NO_TERMS,
        n_modalities: int = 1,
        participation: float = 1.0,
        central: bool = False,
        hidden: tuple[int, ...] = workload.LAYERS[1:3],
        skip: bool = False,
        n_threads: int = 1,
    ):
        x, y = (torch.from_numpy(a).flatten(0, 1) for a in workload.rows(n_clients))
        width = workload.N_COLUMNS // n_modalities
        encoder = DenseEncoder(hidden, skip=skip)
        encoders = {f"x{m}": encoder.build(f"x{m}", width, 8, ()) for m in range(n_modalities)}
        self.network = Network(encoders, ConcatFusion(), modality_dim=8, n_components=2, n_outputs=1)
        first = self.network.initial(0, dict.fromkeys(encoders, float(width)))
        if n_modalities == 1 and hidden == workload.LAYERS[1:3]:  # the same first weights as everybody's
            names = [("encoder.x0", i) for i in range(3)] + [("fusion", 0), ("head", 0)]
            for (part, i), (weight, bias) in zip(names, workload.first_weights(), strict=True):
                first |= {f"{part}.weight{i}": weight, f"{part}.bias{i}": bias[:, None]}
        owners = np.arange(n_clients).repeat(workload.N_ROWS)
        run = Run(
            x,
            y,
            Partition.of_codes(owners * 0 if central else owners),
            Settings(workload.LEARNING_RATE, workload.WEIGHT_DECAY, 0.0, *terms, temperature=0.5),
            0,
            Start(self.network.layout.pack(first, dtype=torch.float32).numpy()),
        )
        most_rounds = 200 + 1_000_000 // n_clients if n_clients < 1_000 else 210
        schedule = Schedule((1.0,) * most_rounds, workload.N_EPOCHS, workload.BATCH_SIZE, participation, history_size=3)
        self.x, self.y = x, y
        training = LocalTraining(self.network, [run], schedule, engine, n_threads=n_threads)
        self._rounds: Iterator[tuple[Trained, ...]] = train(training, self.network, [run.start], schedule)

    def round(self) -> None:
        with torch.no_grad():
            (self._trained,) = next(self._rounds)

    def loss(self) -> float:
        with torch.no_grad():
            views = self.network.layout.views(torch.from_numpy(self._trained.state.weights)[None])
            y_hat = self.network.forward(views, self.x[None]).y_hat[0]
            return float(((y_hat - self.y) ** 2).mean())


class PyTorchLoop:
    """The usual way: one client after another.

    `lean` leaves out what is known to be slow: batches are slices of permuted rows, the optimiser is fused.
    """

    def __init__(self, n_clients: int, *, lean: bool = False):
        self.x, self.y = workload.rows(n_clients)
        self.clients = [
            TensorDataset(torch.from_numpy(x), torch.from_numpy(y)) for x, y in zip(self.x, self.y, strict=True)
        ]
        self.server, self.model = workload.Model(), workload.Model()
        self.lean = lean

    def round(self) -> None:
        broadcast = self.server.state_dict()
        total: dict[str, torch.Tensor] = {}
        for client in self.clients:
            self.model.load_state_dict(broadcast)
            train_locally(self.model, client, lean=self.lean)
            for name, value in self.model.state_dict().items():
                total[name] = total[name] + value if name in total else value.clone()
        self.server.load_state_dict({name: value / len(self.clients) for name, value in total.items()})

    def loss(self) -> float:
        return workload.mean_squared_error(self.server, self.x, self.y)


class Central:
    """One model on all clients' rows together."""

    def __init__(self, n_clients: int, *, lean: bool = False):
        x, y = (torch.from_numpy(a).flatten(0, 1) for a in workload.rows(n_clients))
        self.rows, self.model, self.lean = TensorDataset(x, y), workload.Model(), lean

    def round(self) -> None:
        train_locally(self.model, self.rows, lean=self.lean)


def train_locally(model: nn.Module, rows: TensorDataset, *, lean: bool = False) -> None:
    """Three epochs with a new optimiser."""
    if lean:
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=workload.LEARNING_RATE, weight_decay=workload.WEIGHT_DECAY, fused=True
        )
    else:
        optimizer = workload.optimizer(model.parameters())
        loader = DataLoader(rows, batch_size=workload.BATCH_SIZE, shuffle=True)
    for _ in range(workload.N_EPOCHS):
        if lean:
            order = torch.randperm(len(rows))
            x, y = (tensor[order] for tensor in rows.tensors)
            batches: Any = zip(x.split(workload.BATCH_SIZE), y.split(workload.BATCH_SIZE), strict=True)
        else:
            batches = loader
        for x_batch, y_batch in batches:
            optimizer.zero_grad()
            ((model(x_batch) - y_batch) ** 2).mean().backward()
            optimizer.step()


# ------------------------------------------------------------------------------------------- measuring


@dataclass
class Timing:
    """Seconds a round of one contender, sample by sample, and its training error after the check rounds."""

    seconds: list[float] = field(default_factory=list)
    loss: float | None = None
    version: str = ""

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def to_dict(self) -> dict[str, Any]:
        return {"median": self.median, "minimum": min(self.seconds), **vars(self)}


def in_turn(contenders: dict[str, Any], n_check: int, sample: float, repeats: int) -> dict[str, Timing]:
    """Time contenders of this process, taking turns."""
    timings, stretches = {}, {}
    for name, contender in contenders.items():
        for _ in range(max(n_check, 2)):
            contender.round()
        timings[name] = Timing(loss=contender.loss() if hasattr(contender, "loss") else None)
        n_rounds, lasted = 1, 0.0
        while lasted < sample / 2:  # some do many rounds at a time, and then hand them out
            n_rounds *= 2
            start = time.perf_counter()
            for _ in range(n_rounds):
                contender.round()
            lasted = time.perf_counter() - start
        stretches[name] = max(1, round(sample * n_rounds / lasted))

    def stretch(name: str) -> Callable[[], None]:
        def run() -> None:
            for _ in range(stretches[name]):
                contenders[name].round()

        return run

    for name, times in interleaved({name: stretch(name) for name in contenders}, repeats).items():
        timings[name].seconds = [t / stretches[name] for t in times]
    return timings


def script(python: str, *arguments: object) -> dict[str, Any]:
    """Run a script of `competitors` with some Python; its last line of output is the result."""
    name, *rest = map(str, arguments)
    paths = [str(COMPETITORS), str(ROOT)] if python == sys.executable else [str(COMPETITORS)]
    done = subprocess.run(
        [python, str(COMPETITORS / name), *rest],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def speed(options: Any, environments: dict[str, str]) -> dict[int, dict[str, Timing]]:
    """Every contender at every K."""
    results: dict[int, dict[str, Timing]] = {}
    for n_clients in KS:
        timings = {name: Timing() for name in FRAMEWORKS.values()}
        parts: dict[str, list[float]] = {}
        contenders: dict[str, Any] = {
            STACKED: Ours(n_clients),
            LOOP: Ours(n_clients, "loop"),
            PLAIN: PyTorchLoop(n_clients),
            LEAN: PyTorchLoop(n_clients, lean=True),
            CENTRAL: Central(n_clients),
            LEAN_CENTRAL: Central(n_clients, lean=True),
            OUR_CENTRAL: Ours(n_clients, central=True),
        }
        for repeat in range(options.repeats):
            n_check = CHECK_ROUNDS[n_clients] if repeat == 0 else 0
            for name, timing in in_turn(contenders, n_check, options.sample, 2).items():
                parts.setdefault(name, []).extend(timing.seconds)
                if repeat == 0:
                    timings[name] = timing
            for name, python in list(environments.items()):
                try:
                    told = script(python, f"run_{name}.py", n_clients, CHECK_ROUNDS[n_clients])
                except (RuntimeError, OSError) as error:
                    note(f"{FRAMEWORKS[name]} is left out: {error}")
                    del environments[name]
                    continue
                parts.setdefault(FRAMEWORKS[name], []).extend(told["seconds"])
                timings[FRAMEWORKS[name]].loss = told["final_loss"]
                timings[FRAMEWORKS[name]].version = told["version"]
        for name, seconds in parts.items():
            timings[name].seconds = seconds
        results[n_clients] = {
            name: timings[name]
            for name in (STACKED, LOOP, PLAIN, LEAN, *FRAMEWORKS.values(), CENTRAL, LEAN_CENTRAL, OUR_CENTRAL)
            if timings[name].seconds
        }
        note(f"K={n_clients}: " + ", ".join(f"{n} {t.median * 1e3:.3g} ms" for n, t in results[n_clients].items()))
    return results


# ------------------------------------------------------------------------------------------- reporting


def milliseconds(seconds: float) -> str:
    """Three figures, and no more decimals than that."""
    ms = 1e3 * seconds
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def show_speed(results: dict[int, dict[str, Timing]]) -> list[list[Any]]:
    """Times, ratios and losses; returns rows for the table of what was asked."""
    print("\n## One round, ms (median), and how many times longer than our stacked engine\n")
    names = list(results[KS[0]])
    rows = []
    for name in names:
        row: list[Any] = [name]
        for timings in results.values():
            if name not in timings:
                row += ["", ""]
                continue
            ratio = timings[name].median / timings[STACKED].median
            row += [milliseconds(timings[name].median), f"{ratio:.1f}x"]
        rows.append(row)
    header = ["engine"]
    for n_clients in results:
        header += [f"K={n_clients}", "ratio"]
    print(table(header, rows))
    print("\n## Training error of the global model after the same number of rounds\n")
    rows = []
    for name in names:
        row = [name]
        for timings in results.values():
            loss, reference = timings[name].loss if name in timings else None, timings[STACKED].loss
            if loss is None or reference is None:
                row.append("")
                continue
            agrees = abs(loss / reference - 1.0) <= TOLERANCE
            row.append(f"{loss:.4f}" + ("" if agrees else " (differs)"))
        if any(row[1:]) and name != OUR_CENTRAL:
            rows.append(row)
    print(table(["engine", *(f"K={k}, {CHECK_ROUNDS[k]} rounds" for k in results)], rows))
    print(f"\nThey must agree with the first row to {TOLERANCE:.0%}.")

    asked: list[list[Any]] = []

    def add(what: str, n_clients: int, rivals: list[str], at_least: float) -> None:
        timings = results[n_clients]
        there = [timings[name] for name in rivals if name in timings]
        if len(rivals) > 1 and there:
            what += " (" + min((name for name in rivals if name in timings), key=lambda n: timings[n].median) + ")"
        if there:
            ratio = min(t.median for t in there) / timings[STACKED].median
            lowest = min(min(t.seconds) for t in there) / min(timings[STACKED].seconds)
            ok = check(ratio, at_least, at_least=True)
            asked.append([what, f"K={n_clients}", f">= {at_least:g}x", f"{ratio:.1f}x", f"{lowest:.1f}x", ok])
        else:
            asked.append([what, f"K={n_clients}", f">= {at_least:g}x", "not run", "", ""])

    for n_clients in KS:
        add("stacked against plain PyTorch loop", n_clients, [PLAIN], ASKED_PLAIN[n_clients])
    for n_clients in KS:
        rivals = [FRAMEWORKS[name] for name in ("pfl", "fluke", "fedlab")]
        add("stacked against the fastest of pfl, fluke, FedLab", n_clients, rivals, ASKED_FASTEST[n_clients])
    for n_clients, at_least in ASKED_FLOWER.items():
        add("stacked against Flower's simulation", n_clients, [FRAMEWORKS["flower"]], at_least)
    for name in (CENTRAL, LEAN_CENTRAL, OUR_CENTRAL):
        ours, central = results[30][STACKED], results[30][name]
        ratio, lowest = ours.median / central.median, min(ours.seconds) / min(central.seconds)
        # Its own speed as a central trainer is no yardstick for it: shown, not asked.
        wanted = "" if name == OUR_CENTRAL else f"<= {ASKED_CENTRAL:g}x"
        ok = "" if name == OUR_CENTRAL else check(ratio, ASKED_CENTRAL)
        asked.append([f"stacked against {name}", "K=30", wanted, f"{ratio:.2f}x", f"{lowest:.2f}x", ok])
    return asked


def losses(options: Any) -> tuple[list[list[Any]], dict[str, Any]]:
    """All four terms against MSE alone, with one modality and with two (the KL term needs two)."""
    asked: list[list[Any]] = []
    detail: dict[str, Any] = {}
    for n_modalities in (1, 2):
        for n_clients in KS:
            contenders: dict[str, Any] = {
                "MSE": Ours(n_clients, n_modalities=n_modalities),
                "all four": Ours(n_clients, n_modalities=n_modalities, terms=ALL_TERMS),
            }
            # After five rounds the history is full.
            timings = in_turn(contenders, 5, options.sample, 2 * options.repeats)
            mse, four = timings.values()
            ratio, lowest = four.median / mse.median, min(four.seconds) / min(mse.seconds)
            what = f"four losses against MSE alone, {n_modalities} modalit{'y' if n_modalities == 1 else 'ies'}"
            ok = check(ratio, ASKED_LOSSES)
            asked.append([what, f"K={n_clients}", f"<= {ASKED_LOSSES:g}x", f"{ratio:.2f}x", f"{lowest:.2f}x", ok])
            detail[f"K={n_clients}, modalities={n_modalities}"] = {n: t.to_dict() for n, t in timings.items()}
            note(f"four losses, K={n_clients}, {n_modalities} modalities: {ratio:.2f}x")
    return asked, detail


def clients(options: Any) -> tuple[list[list[Any]], dict[str, Any]]:
    """Cost of one client when there are 10,000, and cost of a round in which one in a hundred takes part."""
    asked: list[list[Any]] = []
    contenders: dict[str, Any] = {"K=300": Ours(300), "K=10,000": Ours(10_000)}
    timings = in_turn(contenders, 1, options.sample, options.repeats)
    few, many = timings["K=300"], timings["K=10,000"]
    ratio, lowest = (
        many.median / few.median * 300 / 10_000,
        min(many.seconds) / min(few.seconds) * 300 / 10_000,
    )
    ok = check(ratio, ASKED_CLIENTS)
    what = "cost per client, K=10,000 against K=300"
    asked.append([what, "", f"<= {ASKED_CLIENTS:g}x", f"{ratio:.2f}x", f"{lowest:.2f}x", ok])
    detail = {name: timing.to_dict() for name, timing in timings.items()}
    del contenders
    for name, terms in (("MSE", NO_TERMS), ("all four", ALL_TERMS)):
        contenders = {
            "K=100": Ours(100, terms=terms),
            "K=10,000, participation=0.01": Ours(10_000, participation=0.01, terms=terms),
        }
        timings = in_turn(contenders, 5, options.sample, 2 * options.repeats)
        all_there, drawn = timings.values()
        ratio, lowest = drawn.median / all_there.median, min(drawn.seconds) / min(all_there.seconds)
        what = f"100 of 10,000 clients a round against 100 of 100, {name}"
        asked.append([what, "", "", f"{ratio:.2f}x", f"{lowest:.2f}x", ""])
        detail |= {f"{what}: {n}": t.to_dict() for n, t in timings.items()}
    return asked, detail


def memory() -> tuple[list[list[Any]], dict[str, Any]]:
    """Peak memory of a whole process."""
    imports = script(sys.executable, "run_skfdrmfl.py", "imports")["peak_mb"]
    peak = script(sys.executable, "run_skfdrmfl.py", "memory", 300, 5)["peak_mb"]
    what = f"peak memory of the process (imports of torch and sklearn alone: {imports:.0f} MB)"
    rows = [[what, "K=300", f"<= {ASKED_MB:g} MB", f"{peak:.0f} MB", "", check(peak, ASKED_MB)]]
    return rows, {"imports_mb": imports, "peak_mb": peak}


def fresh(options: Any) -> tuple[list[list[Any]], dict[str, Any]]:
    """From a cold start to a fitted transformer, against importing torch and scikit-learn."""
    times = interleaved(
        {
            "import torch, sklearn": lambda: script(sys.executable, "run_skfdrmfl.py", "imports"),
            "import to fitted": lambda: script(sys.executable, "run_skfdrmfl.py", "fresh", 3, 20),
        },
        2 * options.repeats + 1,
    )
    imports, fitted = map(float, (np.median(t) for t in times.values()))
    limit = 1.25 * imports + 0.5
    lowest = [min(t) for t in times.values()]
    what = f"fresh process, import to fitted, 20 rounds (imports alone: {imports:.2f} s)"
    row = [what, "K=3", f"<= {limit:.2f} s", f"{fitted:.2f} s", f"{lowest[1]:.2f} s", check(fitted, limit)]
    return [row], {"seconds": times, "limit": limit}


KERNELS = {
    "matrix products": ("aten::bmm", "aten::baddbmm", "aten::addmm", "aten::mm"),
    "optimiser": ("aten::_fused_adamw_", "aten::_fused_adam_"),
    "gathering rows": ("aten::index_select", "aten::index"),
    "silu and its derivative": ("aten::sigmoid", "aten::addcmul", "aten::mul", "aten::addcmul_", "aten::mul_"),
    "sums": ("aten::sum",),
    "averaging, copies, zeros": ("aten::index_add_", "aten::copy_", "aten::fill_", "aten::cat", "aten::add_"),
}


def flops_of_round(n_clients: int) -> float:
    """Products of the network: forward, gradient of the weights, gradient of every input but the rows'."""
    weights = [a * b for a, b in zip(workload.LAYERS[:-1], workload.LAYERS[1:], strict=True)]
    rows = n_clients * workload.N_ROWS * workload.N_EPOCHS
    return 2.0 * rows * (3 * sum(weights) - weights[0])


def profile(options: Any) -> dict[str, Any]:
    """Where a round of our stacked engine goes, and how fast its products are; MSE alone."""
    print("\n## Where the time of a round goes (our stacked engine, MSE alone)\n")
    columns: dict[int, dict[str, float]] = {}
    detail: dict[str, Any] = {}
    for n_clients in KS:
        contender = Ours(n_clients)
        plain = in_turn({"round": contender}, 3, options.sample, 2 * options.repeats)["round"]
        n_rounds = max(1, round(options.sample / plain.median))
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities) as recorder:
            for _ in range(n_rounds):
                contender.round()
        own = {e.key: e.self_cpu_time_total / 1e6 / n_rounds for e in recorder.key_averages()}
        shares = {title: sum(own.get(name, 0.0) for name in names) for title, names in KERNELS.items()}
        shares["other kernels"] = sum(own.values()) - sum(shares.values())
        gflops = flops_of_round(n_clients) / 1e9
        columns[n_clients] = shares
        detail[str(n_clients)] = {
            "seconds": shares,
            "unprofiled_round": plain.to_dict(),
            "gflop_a_round": gflops,
            "gflops_of_products": gflops / shares["matrix products"],
            "gflops_of_round": gflops / min(plain.seconds),
        }
    titles = list(columns[KS[0]])
    rows: list[list[Any]] = []
    for title in titles:
        row = [title]
        for shares in columns.values():
            row.append(f"{shares[title] / sum(shares.values()):.0%}")
        rows.append(row)
    rows.append(["all kernels, ms", *(milliseconds(sum(s.values())) for s in columns.values())])
    for title, key in (("median", "median"), ("least", "minimum")):
        times = (d["unprofiled_round"][key] for d in detail.values())
        rows.append([f"a round without the profiler, ms, {title}", *map(milliseconds, times)])
    for title, key in (("products", "gflops_of_products"), ("whole round, at its least", "gflops_of_round")):
        rows.append([f"GFLOP/s, {title}", *(f"{d[key]:.0f}" for d in detail.values())])
    print(table(["", *(f"K={k}" for k in columns)], rows))
    return detail


def tuning(options: Any) -> dict[str, Any]:
    """What chunks, threads and each term do to a round of our stacked engine at K=300."""
    detail: dict[str, Any] = {}
    usual = stacked.CHUNK_BYTES
    print("\n## A round at K=300, ms, by size of the chunks that train together (MSE alone)\n")
    rows = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        contenders: dict[str, Any] = {}
        for size in CHUNKS:
            stacked.CHUNK_BYTES = size
            contenders[f"{size / 1e6:g} MB"] = contender = Ours(300)
            contender.round()  # the first round cuts the chunks
        stacked.CHUNK_BYTES = usual
        timings = in_turn(contenders, 1, options.sample, 2 * options.repeats)
        detail[f"chunks, {n_threads} threads"] = {name: t.to_dict() for name, t in timings.items()}
        name = f"{n_threads} thread{'s' if n_threads > 1 else ''}"
        rows.append([name, *(milliseconds(t.median) for t in timings.values())])
    torch.set_num_threads(1)
    print(table(["", *(f"{size / 1e6:g} MB" for size in CHUNKS)], rows))
    print(f"\nThe engine uses {usual / 1e6:g} MB and one thread.")
    print("\n## A round at K=300 with two modalities, by terms\n")
    terms = {
        "MSE": NO_TERMS,
        "MSE + mutual information": (1e-3, 0.0, 0.0),
        "MSE + KL": (0.0, 1e-3, 0.0),
        "MSE + contrastive": (0.0, 0.0, 1e-3),
        "all four": ALL_TERMS,
    }
    contenders = {name: Ours(300, terms=weights, n_modalities=2) for name, weights in terms.items()}
    timings = in_turn(contenders, 5, options.sample, 2 * options.repeats)
    mse = timings["MSE"].median
    rows = [[name, milliseconds(t.median), f"{t.median / mse:.2f}x"] for name, t in timings.items()]
    print(table(["objective", "ms", "ratio"], rows))
    detail["terms"] = {name: t.to_dict() for name, t in timings.items()}
    return detail


def environments_of(options: Any) -> dict[str, str]:
    """The Python of each framework that is there."""
    given = dict(item.partition("=")[::2] for item in options.env)
    for unknown in set(given) - set(FRAMEWORKS):
        raise SystemExit(f"--env {unknown}=...: choose one of {', '.join(FRAMEWORKS)}.")
    out = {}
    for name, title in FRAMEWORKS.items():
        python = given.get(name) or os.environ.get(f"SKFDRMFL_BENCH_{name.upper()}")
        if python:
            out[name] = python
        else:
            note(f"{title} is left out: no --env {name}=PYTHON was given (see benchmarks/README.md).")
    return out


def main() -> None:
    """Run what was asked for and report."""
    parts = ("speed", "losses", "clients", "memory", "fresh", "profile", "tuning")
    options = parser(__doc__)
    options.add_argument("--env", action="append", default=[], metavar="NAME=PYTHON", help="flower, pfl, fluke, fedlab")
    options.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts to run")
    options.add_argument("--repeats", type=int, default=3, help="turns of everybody (default: %(default)s)")
    options.add_argument("--sample", type=float, default=0.3, help="seconds of a sample (default: %(default)s)")
    args = options.parse_args()
    torch.set_num_threads(1)
    asked: list[list[Any]] = []
    document: dict[str, Any] = {}
    # Processes of their own come first: later on, this one has more in memory.
    if "memory" in args.only:
        rows, document["memory"] = memory()
        asked += rows
    if "fresh" in args.only:
        rows, document["fresh"] = fresh(args)
        asked += rows
    print("# Engines: one round of federated averaging")
    if "speed" in args.only:
        results = speed(args, environments_of(args))
        asked = show_speed(results) + asked
        document["speed"] = {k: {name: t.to_dict() for name, t in timings.items()} for k, timings in results.items()}
    if "losses" in args.only:
        rows, document["losses"] = losses(args)
        asked += rows
    if "clients" in args.only:
        rows, document["clients"] = clients(args)
        asked += rows
    if "profile" in args.only:
        document["profile"] = profile(args)
    if "tuning" in args.only:
        document["tuning"] = tuning(args)
    if asked:
        print("\n## Reached beside asked\n")
        print(table(["what", "", "asked", "reached", "from minima", "ok"], asked, left=2))
    save(args.out, "engines", {"asked_and_reached": asked, **document})


if __name__ == "__main__":
    main()
