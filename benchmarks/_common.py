"""What the benchmarks share: tables in Markdown, results in JSON, and timing that survives a busy machine."""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS, DOCS_FIGURES = Path("out") / "benchmarks", ROOT / "docs" / "figures"


def parser(description: str | None, out: Path = RESULTS) -> argparse.ArgumentParser:
    """An argument parser with the option that all benchmarks have: the folder that they write to."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--out", type=Path, default=out, metavar="DIR", help="where the results go (default: %(default)s)"
    )
    return options


def arguments(options: argparse.ArgumentParser, **smallest: Any) -> argparse.Namespace:
    """What the command line says, or, with --smallest, what `smallest` says: some seconds that show that it runs.

    Fits then have two rounds where a script does not say how many, and data that are not there are made up.
    """
    options.add_argument(
        "--smallest", action="store_true", help="a run of some seconds that shows that the script runs"
    )
    found = options.parse_args()
    if found.smallest:
        vars(found).update(smallest)
        few_rounds()
        if "corn" in vars(found):
            found.corn = made_up_corn(found.out)
    return found


def few_rounds() -> None:
    """Let fits have two rounds by default."""
    from skfdrmfl import FDRMFLTransformer

    FDRMFLTransformer.__init__.__kwdefaults__["n_rounds"] = 2


def made_up_corn(folder: Path) -> Path:
    """A file like that of the corn data, of noise."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((80, 700)) for name in ("m5", "mp5", "mp6")}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "made_up_corn.npz", **arrays, y=rng.standard_normal((80, 4)) + 10 * arrays["m5"][:, :4])
    return folder / "made_up_corn.npz"


def add_corn(options: argparse.ArgumentParser) -> None:
    """The option that says where the corn data are, which are not part of the package."""
    options.add_argument(
        "--corn",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "corn.npz",
        metavar="FILE",
        help="corn.npz (default: ../shared/data/corn.npz beside the repository; see fetch_corn)",
    )


def add_csv(options: argparse.ArgumentParser, name: str) -> None:
    """The option that keeps results as the table that figures are drawn from."""
    options.add_argument(
        "--csv", type=Path, metavar="FILE", help=f"write a CSV too; that of the documentation is docs/data/{name}.csv"
    )


def save_csv(path: Path | None, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table as CSV, and say so; nothing where no path is given."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    print(f"Written to {path}")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int = 1) -> str:
    """A Markdown table, its columns aligned on screen too.

    Parameters
    ----------
    header : sequence of str
    rows : iterable of sequence
        Cells are printed with `str`; None is an empty cell.
    left : int, default=1
        How many columns, from the first on, hold words; the others hold numbers and stand to the right.
    """
    cells = [[("" if cell is None else str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[j]) for row in cells)) for j in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.ljust(w) if j < left else cell.rjust(w) for j, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * w) if j < left else "-" * (w - 1) + ":" for j, w in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])


def check(value: float, asked: float, *, at_least: bool = False) -> str:
    """Whether `value` reaches what was asked."""
    return "yes" if (value >= asked if at_least else value <= asked) else "NO"


def versions() -> dict[str, Any]:
    """What a reader needs to judge timings."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scikit-learn", "torch")},
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }


def save(folder: Path, name: str, results: Mapping[str, Any]) -> None:
    """Write `name`.json into `folder`, and say so."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    document = {"versions": versions(), "command": " ".join(sys.argv), **results}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nWritten to {path}")


def note(text: str) -> None:
    """One line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def peak_megabytes() -> float:
    """Peak resident memory of this process.

    Linux's own figure: `resource.getrusage` of a child also counts its parent before the `exec`.
    """
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000
    except FileNotFoundError:
        import resource

        unit = 1e6 if sys.platform == "darwin" else 1e3
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call: what passes on the wall, or on another clock."""
    start = clock()
    work()
    return clock() - start


def interleaved(
    works: Mapping[str, Callable[[], Any]],
    repeats: int,
    *,
    report: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each work, A B C A B C ...: what disturbs the machine then disturbs all alike.

    Parameters
    ----------
    works : mapping of str to callable
    repeats : int
    report : callable, default=None
        Called with a line of progress after each.
    clock : callable, default=time.perf_counter
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work, clock))
            if report is not None:
                report(f"{name}: {times[name][-1]:.3g} s")
    return times
