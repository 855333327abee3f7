"""Draw the figures of docs/command_line.md: the commands on that page, on Tecator as a table (two minutes).

    python benchmarks/command_line_figures.py [--out docs/figures]

The page of the report is pictured where there is a Chromium, and else left as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _common import DOCS_FIGURES, arguments, parser

from skfdrmfl.cli.main import main as command
from skfdrmfl.datasets import load_tecator, make_client_ids

COLUMNS = ["--target", "fat", "--clients-column", "site", "--groups-column", "sample", "--drop", "water,protein"]
PICTURES = {"compare.png": "command_line_compare.png", "model.png": "command_line_model.png"}
CURVE = {"variations.png": "command_line_variations.png"}
PAGE = "command_line_report.png"


@contextlib.contextmanager
def inside(folder: str) -> Iterator[None]:
    """Work in a folder, so that the page shows names without a path."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def write_table(path: Path) -> None:
    """Write Tecator as a laboratory would: three sites, repeats of a sample, other results beside the target."""
    meat = load_tecator("all", as_frame=True)
    sites = np.array(["lab", "mill", "plant"])[make_client_ids(meat.frame["fat"], 3, random_state=0)]
    meat.frame.assign(site=sites, sample=meat.groups).to_csv(path, index=False)


def picture_page(out: Path) -> None:
    """Picture the page of the report, if there is a browser."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print("no Chromium, so the picture of the page stays as it is")
        return
    address = Path("out", "report.html").resolve().as_uri()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1050"]
    subprocess.run([browser, *options, f"--screenshot={out / PAGE}", address], check=True, capture_output=True)


def main() -> None:
    args = arguments(parser(__doc__, DOCS_FIGURES))
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, inside(folder):
        write_table(Path("meat.csv"))
        compare = ["compare", "meat.csv", *COLUMNS, *(["--folds", "2"] if args.smallest else ["--learning-curve"])]
        for line in (compare, ["fit", "meat.csv", *COLUMNS], ["report"]):
            if status := command(line):
                raise SystemExit(status)
        for source, name in PICTURES.items() if args.smallest else (PICTURES | CURVE).items():
            shutil.copyfile(Path("out", source), out / name)
            print(f"Written to {out / name}")
        picture_page(out)


if __name__ == "__main__":
    main()
