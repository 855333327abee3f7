"""How far a fit travels: files and functions of the package that it enters, calls, and changes of file and of room.

    python tools/trips.py                          # this checkout
    PYTHONPATH=../before python tools/trips.py     # another one

Counted under `sys.setprofile` in a second fit of `FDRMFLTransformer` with two rounds to four clients of 10 rows and 6
columns, `transform`, and the same fit over a channel in one memory. The way goes into a function and back out of it: a
stay is an unbroken part of it in one file, a change of room leads from one top folder of the package to another.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT), str(ROOT / "benchmarks")]


def trip(work: Callable[[], Any], package: Path) -> dict[str, int]:
    """What `work` enters of the package, on this thread."""
    calls: list[tuple[str, str]] = []
    path: list[str] = []
    prefix = f"{package}/"

    def follow(frame: FrameType | None, event: str, argument: Any) -> None:
        entered = event == "call"
        frame = frame.f_back if event == "return" and frame is not None else frame
        if event in ("call", "return") and frame is not None and frame.f_code.co_filename.startswith(prefix):
            path.append(frame.f_code.co_filename.removeprefix(prefix))
            if entered:
                calls.append((path[-1], frame.f_code.co_qualname))

    sys.setprofile(follow)
    try:
        work()
    finally:
        sys.setprofile(None)
    rooms = [file.partition("/")[0] for file in path]
    return {
        "files": len(set(path)),
        "functions": len(set(calls)),
        "calls": len(calls),
        "stays in a file": 1 + sum(a != b for a, b in pairwise(path)),
        "changes of room": sum(a != b for a, b in pairwise(rooms)),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.parse_args()
    from _common import table

    import skfdrmfl
    from skfdrmfl import FDRMFLTransformer

    package = Path(skfdrmfl.__file__).parent
    sys.path.insert(0, str(package.parent / "tests"))
    from wire import fit_over, wire_of

    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    y = X[:, 0] + 0.1 * rng.standard_normal(40)
    ids = np.arange(40) % 4
    model = FDRMFLTransformer(n_rounds=2, tuning=None, random_state=0)
    remote = FDRMFLTransformer(n_rounds=2, tuning=None, random_state=0)
    trips: dict[str, Callable[[], Any]] = {
        "fit": lambda: model.fit(X, y, client_ids=ids),
        "the same rows again": lambda: model.fit(X, y, client_ids=ids),
        "transform": lambda: model.transform(X),
        "fit over a wire": lambda: fit_over(wire_of(remote, X, y, ids), remote),
    }
    model.fit(-X, y, client_ids=ids)  # imports, of rows that nothing is kept of
    fit_over(wire_of(remote, X, y, ids), remote)
    found = {}
    for name, work in trips.items():
        found[name] = trip(work, package)
    rows = [[name, *(f"{n:,}" for n in counts.values())] for name, counts in found.items()]
    print(f"{package}\n\n{table(['trip', *found['fit']], rows)}")


if __name__ == "__main__":
    main()
