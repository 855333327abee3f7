"""What the package stands on: the lowest and newest versions that were tried, and what differs between them.

    python tools/versions.py                  # the page on screen
    python tools/versions.py --write          # docs/versions.md
    python tools/versions.py --check          # status 1 where that page is another one
    python tools/versions.py --lowest         # the lowest versions that pyproject.toml allows, as requirements
    python tools/versions.py --record oldest  # what is installed here, into docs/data/versions.csv (or: newest)

`make test-oldest` and `make test-newest` set up an environment, run the tests and record its versions.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "versions.md"
RECORD = ROOT / "docs" / "data" / "versions.csv"
ENVIRONMENTS = ("oldest", "newest")
# Extras whose packages `make test-oldest` takes at their lowest.
OF_TESTS = ("plot", "progress", "table", "dp", "test")
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(.*)")

# Package: what differs between its versions as far as it matters here, and where that is written; "" where nothing that
# the tests meet does, or versions were not compared.
DIFFERENCES: dict[str, str] = {
    "scikit-learn": "callbacks and `ProgressBar` need 1.9 ([long runs](long_runs.md)); before 1.9.1 `RFE` and "
    "`SelectFromModel` in a `Pipeline` take `client_ids` only without metadata routing "
    "([issue](https://github.com/scikit-learn/scikit-learn/issues/30527))",
    "torch": "`torch.load` reads weights alone since 2.6 "
    "([release notes](https://github.com/pytorch/pytorch/releases/tag/v2.6.0)); models are kept without it",
    "numpy": "since 2.0 a Python number takes the type of the array beside it "
    "([migration guide](https://numpy.org/doc/stable/numpy_2_0_migration_guide.html)): float32 stays float32; "
    "`StringDType` is there since 2.0",
    "scipy": "1.11.0 was withdrawn for its licence ([1.11.1](https://github.com/scipy/scipy.org/pull/526))",
    "pandas": "text columns are `object` before 3.0, `str` since "
    "([what's new](https://pandas.pydata.org/docs/whatsnew/v3.0.0.html)); both are labels here",
    "polars": "",
    "pyarrow": "",
    "flwr": "[said elsewhere](run_a_site.md#versions-other-transports)",
    "dp-accounting": "0.4.4 and 0.6.0 give the same epsilon to 1e-9, in three cases",
    "skops": "0.11.0 and 0.16.0 read each other's models, to the same bits",
    "mapie": "1.0, which [recipes](recipes.md) use, has [other classes](https://github.com/sktime/skpro/pull/564)",
    "dask": "",
    "chemotools": "0.5 warns of old names: `window_length` for `window_size`, `deriv` for `derivate_order`",
    "nirs4all-formats": "0.1.0 and 0.2.11 read JCAMP-DX and ENVI alike in three [findings](../findings/README.md)",
}


def declared() -> dict[str, str]:
    """Return package: bounds, of the dependencies and of every extra in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    found: dict[str, str] = {}
    for line in [*project["dependencies"], *(line for lines in extras.values() for line in lines)]:
        name, bounds = split(line)
        if name != "skfdrmfl" and (bounds or name not in found):
            found[name] = bounds
    return found


def split(requirement: str) -> tuple[str, str]:
    """Return the normal name of a package and its bounds."""
    match = REQUIREMENT.fullmatch(requirement.partition(";")[0].strip())
    assert match is not None, requirement
    return match[1].lower().replace("_", "-"), match[2]


def lowest() -> Iterator[str]:
    """Yield a requirement for each package with a lowest version, of the core and of what tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in OF_TESTS:
        lines += project["optional-dependencies"][extra]
    for name, bounds in sorted({split(line) for line in lines}):
        bound = re.search(r">=\s*([\d.]+)", bounds)
        if bound is not None:
            yield f"{name}=={bound[1]}"


def recorded() -> dict[str, dict[str, str]]:
    """Return environment: package: version, as the two environments recorded them."""
    found: dict[str, dict[str, str]] = {name: {} for name in ENVIRONMENTS}
    if RECORD.exists():
        with RECORD.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found[row["environment"]][row["package"]] = row["version"]
    return found


def record(environment: str, what: str) -> None:
    """Write what is installed here of the packages in the table, and what was run, in place of the earlier record."""
    rows = recorded()
    rows[environment] = {"ran": what}
    for name in DIFFERENCES:
        try:
            rows[environment][name] = version(name)
        except PackageNotFoundError:
            continue
    with RECORD.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("environment", "package", "version"))
        writer.writerows((kind, name, number) for kind in ENVIRONMENTS for name, number in rows[kind].items())


def page() -> str:
    """Return docs/versions.md."""
    bounds, runs = declared(), recorded()
    lines = [
        "# Versions",
        "",
        "What `pyproject.toml` allows, the lowest and newest versions tried, and what differs between them.",
        "Every other run takes the versions in `constraints.txt` and `constraints-flower.txt`.",
        "",
        "| package | allowed | lowest | newest | what differs |",
        "|---|---|---|---|---|",
    ]
    for name, differs in DIFFERENCES.items():
        tried = [runs[kind].get(name, "") for kind in ENVIRONMENTS]
        lines.append(f"| {' | '.join([name, bounds.get(name, '-') or 'any', *tried, differs])} |")
    lines += ["", "| set up and tested by | what was run |", "|---|---|"]
    for kind in ENVIRONMENTS:
        lines.append(f"| `make test-{kind}` | {runs[kind].get('ran', 'not yet')} |")
    lines += [
        "",
        "`python tools/versions.py --write` makes this page of [their records](data/versions.csv).",
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show, write or check the page, name the lowest versions, or record what is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="write docs/versions.md")
    choice.add_argument("--check", action="store_true", help="status 1 where docs/versions.md is another page")
    choice.add_argument("--lowest", action="store_true", help="name the lowest versions, as requirements")
    choice.add_argument("--record", choices=ENVIRONMENTS, help="record what is installed here")
    parser.add_argument("--ran", default="the tests", help="what was run, for --record")
    args = parser.parse_args(arguments)
    if args.lowest:
        print(*lowest(), sep="\n")
    elif args.record:
        record(args.record, args.ran)
    elif args.write:
        PAGE.write_text(page(), encoding="utf-8")
    elif args.check:
        return int(PAGE.read_text(encoding="utf-8") != page())
    else:
        print(page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
