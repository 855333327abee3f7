"""How long a table of numbers takes to be read as the commands read it, beside pandas with Arrow.

    python benchmarks/reading.py

A file of 10,000 rows x 2,000 numbers of five decimals. Each reading is a new process; contenders take turns, and ratios
are of neighbours. Seconds and memory are those beyond the imports. The commands' reading ends in an array of numbers,
the labels of every column still at hand; both must hold the same doubles. A file with decimal commas is read as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from _common import arguments, parser, save, table

PANDAS = """
frame = pandas.read_csv(path, engine="pyarrow")
values = frame.to_numpy()
"""
COMMANDS = """
args = Namespace(separator=None, decimal=[], sheet=None, na=[], default_na=True, header=None, transpose=False)
frame, _ = read_table(path, args)
values = numpy.empty(frame.shape, order="F")
for j, name in enumerate(frame):
    values[:, j], odd = numbers_of(frame[name])
    assert not len(odd)
"""
AROUND = """
import hashlib, json, resource, sys, time
from argparse import Namespace
from pathlib import Path
import numpy, pandas, pyarrow.csv, pyarrow.compute
from skfdrmfl.cli.reading import read_table
from skfdrmfl.tables.cells import numbers_of
path = Path(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start, work = peak(), time.perf_counter(), time.process_time()
{code}
found = {{"s": time.perf_counter() - start, "s of work": time.process_time() - work, "MB": peak() - before}}
columns = (numpy.ascontiguousarray(values[:, j]).tobytes() for j in range(values.shape[1]))
digest = hashlib.sha256()
for column in columns:
    digest.update(column)
print(json.dumps(found | {{"sha256": digest.hexdigest()}}))
"""


def written(path: Path, n_rows: int, n_columns: int, separator: str, decimal: str) -> Path:
    """A file of numbers between 0 and 2, named by wavelengths."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        file.write(separator.join(f"{1100 + j / 2:g}" for j in range(n_columns)) + "\n")
        texts = [f"{i / 1e5:.5f}".replace(".", decimal) for i in range(200_000)]
        for _ in range(n_rows):
            file.write(separator.join([texts[i] for i in rng.integers(len(texts), size=n_columns).tolist()]) + "\n")
    return path


def reading(code: str, path: Path) -> dict[str, float]:
    """What one reading in a new process took."""
    done = subprocess.run(
        [sys.executable, "-c", AROUND.format(code=code), str(path)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=10_000, metavar="N", help="default: %(default)s")
    options.add_argument("--columns", type=int, default=2_000, metavar="N", help="default: %(default)s")
    options.add_argument("--repeats", type=int, default=5, metavar="N", help="default: %(default)s")
    args = arguments(options, rows=200, columns=20, repeats=1)
    with tempfile.TemporaryDirectory() as folder:
        plain = written(Path(folder, "plain.csv"), args.rows, args.columns, ",", ".")
        comma = written(Path(folder, "comma.csv"), args.rows, args.columns, ";", ",")
        contenders = {
            "pandas, pyarrow": (PANDAS, plain),
            "commands": (COMMANDS, plain),
            "commands, decimal comma": (COMMANDS, comma),
        }
        taken = {name: [] for name in contenders}
        for _ in range(args.repeats):
            for name, (code, path) in contenders.items():
                taken[name].append(reading(code, path))
    first = {times[0]["sha256"] for times in taken.values()}
    assert len(first) == 1, "the readings hold other numbers"
    measures = ("s", "s of work", "MB")
    rows = []
    for name, found in taken.items():
        medians = [median(one[measure] for one in found) for measure in measures]
        ratios = [
            median(one[m] / max(other[m], 1e-3) for one, other in zip(found, taken["pandas, pyarrow"], strict=True))
            for m in measures
        ]
        rows.append([name, *(f"{value:.3g}" for value in medians), *(f"{ratio:.2f}" for ratio in ratios)])
    print(table(["", *measures, *(f"ratio of {measure}" for measure in measures)], rows))
    save(args.out, "reading", {"taken": taken})


if __name__ == "__main__":
    main()
