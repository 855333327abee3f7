"""The command `report`: one page of HTML from what `compare` has written. Nothing is trained again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from skfdrmfl.cli.compare import TABLE, title_of
from skfdrmfl.cli.options import add, add_command
from skfdrmfl.cli.output import output_folder, text_file
from skfdrmfl.cli.screen import interrupt_waits
from skfdrmfl.tables.errors import FileProblem, as_problem


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    description = "Write one self-contained HTML page of a comparison. It has the answer, tables, figures, "
    description += "settings, versions, what left the clients, and how to repeat it. Nothing is trained again."
    parser = add_command(commands, "report", run, description)
    help = "what `skfdrmfl compare` has written (default: %(default)s)"
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", default=Path("out", TABLE), help=help)
    add(parser, "--out FILE", "the page (default: report.html beside FILE)", type=Path)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if not args.file.is_file():
        raise FileProblem(f"{args.file} is not there; run `skfdrmfl compare` first, or name its {TABLE}.")
    out = args.out or args.file.with_name("report.html")
    with output_folder("--out", out.parent, [out.name], [args.file]) as write:
        with interrupt_waits():
            from skfdrmfl.compare import Comparison
        with as_problem(str(args.file)):
            comparison = Comparison.from_json(args.file.read_text(encoding="utf-8"))
        title = title_of(comparison) if "data" in comparison.settings else "Comparison"
        write({out.name: text_file(comparison.to_html(title=title, unit=comparison.settings.get("unit", "")))})
