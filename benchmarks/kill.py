"""Whether fits that are killed at random moments and started again end in the same bits, and what a checkpoint costs.

    python benchmarks/kill.py                          # 4 configurations, 50 kills each: about 6 minutes on a free core
    python benchmarks/kill.py --kills 5

Each run is a process of its own, killed with signal 9 at a moment drawn uniformly from the time that an undisturbed one
takes (in every second run, and in those started again, from the part that follows preparation), and started again
until it is done; each new start is killed too with probability one half. Kills that come too late do not count.
Compared with the undisturbed fit are the models, weights, `history_`, Z, predictions, tuning, and all messages. Every
round is written down, so that many kills come while the file is being written: those leave a temporary file behind,
which is counted.

The cost is that of one writing, Tecator with the default settings, beyond what the disk takes: `os.fsync` of the file
and its folder, and the renaming, which waits for the disk as well. The last column is the whole of it in memory
(`/dev/shm`), where these take nothing.

Processes are forked from one that has imported the package and fitted nothing. Exit status 1 where anything differs.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _common import arguments, check, note, parser, save, table

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.fit.checkpoint import Checkpoint

COMMON: dict[str, Any] = {"tuning": None, "local_epochs": 2, "random_state": 0, "checkpoint_every": 1}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaffold": {"algorithm": "scaffold"},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 40},
    "mixture, half of the clients": {"tuning": "mixture", "participation": 0.5, "n_rounds": 8},
}
ASKED = 1.0  # milliseconds beyond the disk's own


def problem() -> tuple[Any, Any, Any]:
    """120 spectra of Tecator, fat, four clients."""
    X, y = load_tecator(return_X_y=True)
    return X[:120], y[:120], make_client_ids(y[:120], 4, random_state=0)


def digest(model: FDRMFLTransformer, X: Any) -> str:
    """A hash of all that a fit leaves."""
    fitted = model._fitted
    arrays = {"models": fitted.models, "Z": model.transform(X), "y": model.predict(X), "variance": fitted.variance}
    arrays |= fitted.weights | dict(fitted.history) | fitted.memory[0] | fitted.memory[1]
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        total.update(name.encode() + np.ascontiguousarray(array).tobytes())
    total.update(repr((list(model.federation_log_), model.federation_log_.by_client())).encode())
    total.update(repr((list(fitted.members), fitted.n_rounds, fitted.best_round)).encode())
    return total.hexdigest()


def started(work: Callable[[], None]) -> int:
    """The number of a new process that does some work and ends."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def survived(child: int, seconds: float, after: Path | None = None) -> bool:
    """Whether a process ended by itself before it was killed some seconds after a file was there; it must not fail."""
    deadline = time.monotonic() + seconds if after is None else float("inf")
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if after is not None and after.exists():
            deadline, after = time.monotonic() + seconds, None
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(min(0.0005, max(0.0, deadline - time.monotonic())))
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status):
        sys.exit("a run failed; its error is above.")
    return True


def killed_and_done(parameters: dict[str, Any], n_kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """Kill runs of one configuration until that many runs have been killed at least once, and compare all."""
    X, y, ids = problem()
    counts = {"runs": 0, "equal": 0, "kills": 0, "before the first file": 0, "while writing": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = folder / "result"

        def fit(path: Path | None) -> None:
            model = FDRMFLTransformer(**(COMMON | parameters), checkpoint_path=path).fit(X, y, client_ids=ids)
            result.write_text(digest(model, X))

        def undisturbed(path: Path | None) -> tuple[str, float, float]:
            start = time.monotonic()
            child = started(lambda: fit(path))
            while path is not None and not path.exists():
                time.sleep(0.0005)
            prepared = time.monotonic() - start
            survived(child, float("inf"))
            return result.read_text(), prepared, time.monotonic() - start

        expected, *_ = undisturbed(None)
        with_file, prepared, duration = undisturbed(folder / "undisturbed.npz")
        while counts["runs"] < n_kills:
            path = folder / f"run{counts['runs']}.npz"
            result.unlink(missing_ok=True)
            killed = 0
            while True:
                late = counts["runs"] % 2 > 0 or path.exists()
                wait = rng.uniform(0.0, duration - prepared if late else duration)
                if killed and rng.random() < 0.5:
                    wait = float("inf")
                if survived(started(lambda p=path: fit(p)), wait, path if late else None):  # type: ignore[misc]
                    break
                killed += 1
                counts["before the first file"] += not path.exists()
            if killed:
                counts["runs"] += 1
                counts["kills"] += killed
                counts["equal"] += result.read_text() == expected == with_file
            path.unlink(missing_ok=True)
        counts["while writing"] = len(list(folder.glob(".run*.tmp")))
    return {**counts, "seconds": duration, "of these, prepared": prepared}


def costs(folder: Path | None, parameters: dict[str, Any], repeats: int) -> dict[str, float]:
    """Milliseconds of a writing without what the disk takes, median and 95th percentile, and its size."""
    X, y = load_tecator(return_X_y=True)
    ids = make_client_ids(y, 3, random_state=0)
    fsync, replace, write = os.fsync, os.replace, Checkpoint._write
    spent = {"fsync": 0.0, "replace": 0.0}
    beyond, synced, renamed = [], [], []

    def timed(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def timed_call(*arguments: Any) -> None:
            start = time.perf_counter()
            call(*arguments)
            spent[name] += 1e3 * (time.perf_counter() - start)

        return timed_call

    def timed_write(self: Checkpoint, *arguments: Any) -> None:
        spent.update(fsync=0.0, replace=0.0)
        start = time.perf_counter()
        write(self, *arguments)
        beyond.append(1e3 * (time.perf_counter() - start) - sum(spent.values()))
        synced.append(spent["fsync"])
        renamed.append(spent["replace"])

    os.fsync, os.replace = timed("fsync", fsync), timed("replace", replace)
    Checkpoint._write = timed_write  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            for seed in range(repeats):
                path = Path(name) / f"{seed}.npz"
                FDRMFLTransformer(
                    tuning=None, **parameters, random_state=seed, checkpoint_path=path, checkpoint_every=1
                ).fit(X, y, client_ids=ids)
            size = path.stat().st_size
    finally:
        os.fsync, os.replace = fsync, replace
        Checkpoint._write = write  # type: ignore[method-assign]
    return {
        "median": float(np.median(beyond)),
        "95 %": float(np.quantile(beyond, 0.95)),
        "fsync": float(np.median(synced)),
        "rename": float(np.median(renamed)),
        "bytes": size,
    }


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=50, help="runs killed of each configuration (default: 50)")
    options.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options.add_argument("--only", choices=CONFIGURATIONS, help="one of the configurations (default: all)")
    args = arguments(options, kills=1)
    rng = np.random.default_rng(args.seed)
    killed = {}
    for name in CONFIGURATIONS if args.only is None else [args.only]:
        parameters = CONFIGURATIONS[name]
        killed[name] = killed_and_done(parameters, args.kills, rng)
        note(f"{name}: {killed[name]['equal']} of {killed[name]['runs']} equal")
    columns = ["runs", "equal", "kills", "before the first file", "while writing"]
    times = ["seconds", "of these, prepared"]
    rows = [[name, *(of[c] for c in columns), *(f"{of[c]:.2f}" for c in times)] for name, of in killed.items()]
    print("\n## Killed and started again\n")
    print(table(["configuration", *columns, "seconds undisturbed", times[1]], rows))
    equal, runs = (sum(of[column] for of in killed.values()) for column in ("equal", "runs"))
    print(f"\nEqual bits: {equal} of {runs}, {check(equal, runs, at_least=True)}.")

    settings: dict[str, dict[str, Any]] = {"default": {}, "scaffold": {"algorithm": "scaffold"}}
    memory = Path("/dev/shm")
    cost = {
        name: {
            "disk": costs(None, parameters, 3),
            "memory": costs(memory, parameters, 3) if memory.is_dir() else None,
        }
        for name, parameters in settings.items()
    }
    rows = [
        [
            name,
            of["disk"]["bytes"],
            *(f"{of['disk'][column]:.2f}" for column in ("fsync", "rename", "median", "95 %")),
            None if of["memory"] is None else f"{of['memory']['median']:.2f}",
        ]
        for name, of in cost.items()
    ]
    print("\n## One writing, milliseconds\n")
    print(
        table(
            ["algorithm", "bytes", "fsync", "rename", "beyond both, median", "beyond both, 95 %", "in memory, median"],
            rows,
        )
    )
    reached = cost["default"]["disk"]["median"]
    print(f"\nAt most {ASKED:g} ms beyond the disk's: {reached:.2f}, {check(reached, ASKED)}.")
    save(args.out, "kill", {"asked": ASKED, "killed": killed, "milliseconds": cost})
    return 0 if equal == runs else 1


if __name__ == "__main__":
    sys.exit(main())
