"""How long the package takes to be imported, beside what it stands on.

    python benchmarks/imports.py

Each import is a new process; they take turns, and what counts is the processor's time, which a busy machine changes
least. `import skfdrmfl` brings neither numpy nor torch: they come with the first name that is used.
"""

from __future__ import annotations

import os
import subprocess
import sys

from _common import arguments, parser, save, table

FOUNDATION = "import torch, sklearn.base, sklearn.pipeline, sklearn.model_selection"
IMPORTS = {
    "torch and scikit-learn": FOUNDATION,
    "import skfdrmfl": "import skfdrmfl",
    "FDRMFLTransformer": "from skfdrmfl import FDRMFLTransformer",
}


def seconds(code: str) -> float:
    """Processor's time of a new process that runs `code`."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=9, metavar="N", help="default: %(default)s")
    args = arguments(options, repeats=1)
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(args.repeats + 1):
        for name, code in IMPORTS.items():
            taken[name].append(seconds(code))
    medians = {name: sorted(times[1:])[args.repeats // 2] for name, times in taken.items()}  # the first fills caches
    base = medians["torch and scikit-learn"]
    print(table(["", "s", "ratio"], [[name, f"{t:.2f}", f"{t / base:.2f}"] for name, t in medians.items()]))
    save(args.out, "imports", {"seconds": taken})


if __name__ == "__main__":
    main()
