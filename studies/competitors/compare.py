"""One round of federated averaging in several frameworks: seconds, and whether they get to the same error.

    python studies/competitors/compare.py --env flower=/path/to/python pfl=... fluke=... fedlab=... jax=...

The work is in `workload.py`, what each framework is made to do in `run_*.py`. Each runs in an environment of its own
(README.md); those whose Python is not given are left out. Their turns alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from _common import note, save, table  # noqa: E402

OURS = "skfdrmfl"
FRAMEWORKS = {"flower": "Flower simulation (Ray)", "pfl": "pfl", "fluke": "fluke", "fedlab": "FedLab", "jax": "JAX"}
CHECK_ROUNDS = {3: 5, 30: 4, 300: 3}  # rounds after which errors are compared


def script(name: str, python: str, *arguments: int) -> dict[str, Any]:
    """What a contender's script reports on its last line."""
    paths = [str(FOLDER), *([str(ROOT)] if name == OURS else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [python, str(FOLDER / f"run_{name}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"run_{name}.py ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--env", nargs="+", default=[], metavar="NAME=PYTHON", help=", ".join(FRAMEWORKS))
    options.add_argument("--clients", type=int, nargs="+", choices=CHECK_ROUNDS, default=list(CHECK_ROUNDS))
    options.add_argument("--repeats", type=int, default=3, help="turns of everybody (default: %(default)s)")
    options.add_argument("--out", type=Path, default=Path("out") / "benchmarks", metavar="DIR")
    args = options.parse_args()
    pythons = {OURS: sys.executable} | dict(item.partition("=")[::2] for item in args.env)
    if unknown := sorted(set(pythons) - {OURS, *FRAMEWORKS}):
        options.error(f"--env {unknown[0]}=...: choose one of {', '.join(FRAMEWORKS)}.")
    for name in FRAMEWORKS.keys() - pythons.keys():
        note(f"{FRAMEWORKS[name]} is left out: no --env {name}=PYTHON was given.")
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in pythons}
    for n_clients in args.clients:
        for _ in range(args.repeats):
            for name, python in pythons.items():
                told = script(name, python, n_clients, CHECK_ROUNDS[n_clients])
                before = found[name].get(n_clients, {"seconds": []})
                found[name][n_clients] = {**told, "seconds": before["seconds"] + told["seconds"]}
    rows = []
    for name, by_clients in found.items():
        row = [FRAMEWORKS.get(name, name)]
        for n_clients, told in by_clients.items():
            median = float(np.median(told["seconds"]))
            ratio = median / float(np.median(found[OURS][n_clients]["seconds"]))
            row += [f"{1e3 * median:.3g}", f"{ratio:.1f}x", f"{told['final_loss']:.4f}"]
        rows.append(row)
    header = [text for n in args.clients for text in (f"K={n}, ms a round", "ratio", "training error")]
    print(table(["", *header], rows))
    save(args.out, "competitors", {"found": found})


if __name__ == "__main__":
    main()
