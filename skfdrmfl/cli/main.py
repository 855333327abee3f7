"""The commands and their exit statuses. Only the standard library is imported until one runs."""

from __future__ import annotations

import argparse
import sys

from skfdrmfl.cli import compare, fit, predict, report
from skfdrmfl.cli.errors import FileProblem, Interrupted, OutsideDomain, UsageError
from skfdrmfl.cli.options import Parser
from skfdrmfl.common.version import __version__

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_OUTSIDE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
COMMANDS = (compare, fit, predict, report)


def main(argv: list[str] | None = None) -> int:
    """Run the command line on arguments without the program's name, None for those of the process; return its status.

    That is 0 if all went well, 1 if a file could not be read or written or a fit failed, 2 for a wrong argument or data
    that do not fit the arguments, 3 if `predict --strict` met rows unlike the training rows, 130 after Ctrl-C. After
    `--help` and `--version` there is SystemExit.
    """
    try:
        argv = sys.argv[1:] if argv is None else argv
        args = _parser().parse_args(argv)
        args.argv = argv
        args.run(args)
    except UsageError as error:
        prog = error.prog or f"skfdrmfl {args.command}"
        print(f"{prog}: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (FileProblem, OSError) as error:  # such as a full disk
        print(f"skfdrmfl: error: {error}", file=sys.stderr)
        return EXIT_FAILURE
    except OutsideDomain as error:
        print(f"skfdrmfl: {error}", file=sys.stderr)
        return EXIT_OUTSIDE
    except Interrupted as error:
        print(f"\nskfdrmfl: interrupted; {error}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        print("\nskfdrmfl: interrupted; nothing was written.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="skfdrmfl",
        description="Federated, supervised, multimodal dimensionality reduction. From a table to an answer: "
        "skfdrmfl compare data.csv --target fat, then fit and predict.",
    )
    shown = f"skfdrmfl {__version__}"
    parser.add_argument("--version", action="version", version=shown, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return parser
