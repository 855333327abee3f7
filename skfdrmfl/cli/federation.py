"""The command `federation`: what sites say before a fit, what a fitted federation leaves, and whether records agree."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from skfdrmfl.cli import server
from skfdrmfl.cli.options import add, add_command
from skfdrmfl.cli.output import check_ending, output_folder, text_file
from skfdrmfl.cli.parameters import model_of, transformer
from skfdrmfl.cli.screen import interrupt_waits
from skfdrmfl.tables.errors import FileProblem, as_problem

MOST_SAID = 8  # differences between records and a ledger
MODEL = "what a server, `skfdrmfl fit` or `save` has written"


def add_to(commands: Any) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "federation",
        help="statistics of sites before a fit; card and audit of a fitted federation",
        description="What sites say of their rows before anything is trained, and what a fitted federation leaves.",
    )
    own = parser.add_subparsers(title="commands", dest="of_federation", metavar="COMMAND", required=True)

    description = "Ask sites for counts, means, spreads, axes and categories of their rows. They run `skfdrmfl "
    description += "site`, and answer what a fit begins with under the same policies. Nothing is trained."
    parser = add_command(own, "describe", run_describe, description)
    add(parser, "--output FILE", "the statistics: .csv has the columns, .json all (default: printed alone)", type=Path)
    server.add_sites(parser)

    description = "Write one self-contained page on a fitted federation. The model's file has what stands there: "
    description += "sites, rows, errors, privacy, what passed, versions, policies."
    parser = add_command(own, "card", run_card, description)
    parser.add_argument("model", metavar="MODEL", type=Path, help=MODEL)
    output = "the card, .html or .json; may be repeated (default: card.html beside MODEL)"
    add(parser, "--output FILE", output, type=Path, action="append", default=[])
    add(parser, "--title TEXT", "what it is called", default="A fitted federation")

    description = "Hold the records of sites against the ledger in a model's file. `skfdrmfl site --audit` has "
    description += "written them; with those of all sites, message by message. Where they differ, it is said, and "
    description += "the status is 1."
    parser = add_command(own, "audit", run_audit, description)
    parser.add_argument("model", metavar="MODEL", type=Path, help=MODEL)
    parser.add_argument("records", metavar="RECORD", type=Path, nargs="+", help="the record of a site")


def run_describe(args: argparse.Namespace) -> None:
    """Ask the sites, and print or write what they say."""
    paths = [] if args.output is None else [args.output]
    for path in paths:
        check_ending("--output", path, ".csv", ".json")
    n_sites = server.number_of_sites(args)
    folder = Path() if args.output is None else args.output.parent
    with output_folder("--output", folder, [path.name for path in paths]) as write, ExitStack() as stack:
        with interrupt_waits():
            from skfdrmfl.protocol.door import NoAnswer
            from skfdrmfl.site.statistics import describe

            estimator = transformer(args)
        channel = server.channel_to_sites(args, stack)
        with as_problem("no statistics could be had", NoAnswer):
            channel.gather(n_sites)
            found = describe(estimator, channel)
        channel.close()
        print(found, flush=True)
        for path in paths:
            write({path.name: text_file(found.to_json() if path.suffix.lower() == ".json" else found.to_csv())})


def run_card(args: argparse.Namespace) -> None:
    """Write the card of a model."""
    paths = args.output or [args.model.with_name("card.html")]
    for path in paths:
        check_ending("--output", path, ".html", ".json")
    model = model_of(args.model)
    from skfdrmfl.inspection._card import FederationCard

    card = FederationCard.from_estimator(model, title=args.title)
    for path in paths:
        with output_folder("--output", path.parent, [path.name], [args.model]) as write:
            write({path.name: card.save})


def run_audit(args: argparse.Namespace) -> None:
    """Say whether records of sites agree with the ledger of a model."""
    log = model_of(args.model).federation_log_
    from skfdrmfl.clients.remote.audit import differences, is_counted, sites_of

    if not log.runs:
        raise FileProblem(f"{args.model} was not fitted to rows of sites, which keep records; name one that was.")
    try:
        with as_problem():
            records = sites_of(args.records)
    except OSError as error:
        raise FileProblem(f"{error.filename} cannot be read ({error.strerror}); name the record of a site.") from error
    said = differences(log, records)
    if said:
        more = [f"and {len(said) - MOST_SAID} more"] if len(said) > MOST_SAID else []
        raise FileProblem("; ".join(["the records are not those of the ledger", *said[:MOST_SAID], *more]) + ".")
    missing = sorted(set(map(str, log.clients)) - set(map(str, records)))
    of_all = f"; without those of {', '.join(missing)} no more than their bytes can be compared" if missing else ""
    n = sum(is_counted(entry, log) for entries in records.values() for entry in entries)
    print(f"{n} messages in the records of {', '.join(map(str, records))}: as in the ledger{of_all}.")
