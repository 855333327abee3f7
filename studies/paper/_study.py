"""What every experiment of this folder shares: options, and one JSON file for each case and repeat.

A repeat's number fixes its rows, folds, clients and seeds. Repeats, cases and methods can therefore be run in any
order and in parts, and `report.py` puts together whatever is there. A file is rewritten by a new run of the same
repeat; methods that the new run leaves out keep their figures. To start afresh, delete the folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cases import Case, select

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))  # for _common

from _common import ROOT, add_corn, note, table, versions

__all__ = ["OUT", "ROOT", "each", "matching", "note", "options", "stored", "table"]

OUT = Path("out") / "paper"


def options(
    description: str | None, *, cases: Sequence[str], repeats: int, chosen: str | None = "methods"
) -> argparse.ArgumentParser:
    """The options that all experiments have; besides cases, `chosen` is what else can be chosen by name."""
    out = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--cases", nargs="+", default=list(cases), metavar="PATTERN", help="default: %(default)s")
    if chosen is not None:
        out.add_argument(f"--{chosen}", nargs="+", default=["*"], metavar="PATTERN", help="default: all")
    out.add_argument("--repeats", type=int, default=repeats, help="how many (default: %(default)s)")
    out.add_argument("--first", type=int, default=0, metavar="R", help="number of the first (default: %(default)s)")
    out.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the JSON goes (default: %(default)s)")
    add_corn(out)
    return out


def matching(methods: Mapping[str, Any], patterns: Sequence[str]) -> dict[str, Any]:
    """The methods whose names match any of the shell-style `patterns`."""
    return {name: method for name, method in methods.items() if any(fnmatch(name, p) for p in patterns)}


def each(
    experiment: str,
    args: argparse.Namespace,
    measure: Callable[[Case, int], Mapping[str, Any]],
    cases: Sequence[Case] | None = None,
) -> None:
    """Measure every case (by default those that the options choose) in every repeat; store each record at once.

    Repeat by repeat, so that an early end leaves all cases alike.
    """
    if cases is None:
        cases = select(args.cases, args.corn)
    for repeat in range(args.first, args.first + args.repeats):
        for case in cases:
            start = time.perf_counter()
            try:
                record = measure(case, repeat)
            except FileNotFoundError as error:
                note(f"{case.name} is left out: {error}")
                continue
            _store(args.out / experiment / f"{slug(case.name)}.{repeat:03d}.json", case, record)
            note(f"{experiment} {case.name}, repeat {repeat}: {time.perf_counter() - start:.0f} s")


def slug(name: str) -> str:
    """A case's name as a file's."""
    return name.replace("/", "_").replace(" ", "-")


def _store(path: Path, case: Case, record: Mapping[str, Any]) -> None:
    """Write a record; methods that it lacks are kept from the file that was there."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    document = {
        **before,
        "case": case.name,
        **record,
        "error": case.error,
        "versions": versions(),
        "command": " ".join(sys.argv),
    }
    for key in ("scores", "seconds", "found"):
        if key in record:
            document[key] = {**before.get(key, {}), **record[key]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def stored(experiment: str, out: Path = OUT) -> dict[str, list[dict[str, Any]]]:
    """The records of an experiment, {case: [record of each repeat]}."""
    records: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((out / experiment).glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        records.setdefault(record["case"], []).append(record)
    return records
