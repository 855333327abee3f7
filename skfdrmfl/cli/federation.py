"""The command `federation`: what a fitted federation leaves, for those who gave rows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from skfdrmfl.cli.options import add
from skfdrmfl.cli.output import output_folder
from skfdrmfl.cli.screen import interrupt_waits
from skfdrmfl.tables.errors import FileProblem, wrong


def add_to(commands: Any) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "federation",
        help="a card of a fitted federation",
        description="What a fitted federation leaves, for those who gave rows.",
    )
    own = parser.add_subparsers(title="commands", dest="of_federation", metavar="COMMAND", required=True)
    card = own.add_parser(
        "card",
        help="write one page on a fitted federation",
        description="Write one self-contained page on a fitted federation, from what the model's file holds: sites, "
        "rows, errors, privacy, what passed, versions, policies.",
    )
    card.set_defaults(run=run_card)
    card.add_argument("model", metavar="MODEL", type=Path, help="what a server, `skfdrmfl fit` or `save` has written")
    output = "the card, .html or .json; may be repeated (default: card.html beside MODEL)"
    add(card, "--output FILE", output, type=Path, action="append", default=[])
    add(card, "--title TEXT", "what it is called", default="A fitted federation")


def run_card(args: argparse.Namespace) -> None:
    """Write the card of a model."""
    paths = args.output or [args.model.with_name("card.html")]
    for path in paths:
        if path.suffix not in (".html", ".json"):
            wrong("--output", path, "is neither a page nor JSON", "let it end in .html or .json")
    with interrupt_waits():
        from skfdrmfl.common.archive import ArchiveError
        from skfdrmfl.estimator._transformer import FDRMFLTransformer
        from skfdrmfl.inspection._card import FederationCard
    try:
        model = FDRMFLTransformer.load(args.model)
    except FileNotFoundError as error:
        raise FileProblem(f"{args.model} is not there; name the file of a fitted model.") from error
    except ArchiveError as error:
        raise FileProblem(str(error)) from error
    card = FederationCard.from_estimator(model, title=args.title)
    for path in paths:
        with output_folder("--output", path.parent, [path.name], [args.model]) as write:
            write({path.name: card.save})
