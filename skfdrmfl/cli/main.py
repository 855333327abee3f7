"""The commands and their exit statuses. Only the standard library is imported until one runs."""

from __future__ import annotations

import argparse
import sys

from skfdrmfl.cli import adapt, compare, federation, fit, predict, report, server, site
from skfdrmfl.cli.options import Parser
from skfdrmfl.cli.predict import OutsideDomain
from skfdrmfl.cli.screen import Interrupted, lasting_streams, warning_lines
from skfdrmfl.common.extras import MissingExtra
from skfdrmfl.common.version import __version__
from skfdrmfl.tables.errors import FileProblem, UsageError

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_OUTSIDE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
EXIT_PIPE = 141  # what a shell reports of a program that such a pipe has ended
COMMANDS = (compare, fit, predict, adapt, report, site, server, federation)


def main(argv: list[str] | None = None) -> int:
    """Run the command line on arguments without the program's name, None for those of the process; return its status.

    That is 0 if all went well, 1 if a file could not be read or written or a fit failed, 2 for a wrong argument or data
    that do not fit the arguments, 3 if `predict --strict` met rows unlike the training rows, 130 after Ctrl-C, 141
    where standard output was closed before all was printed, as by `| head`: files are written all the same. After
    `--help` and `--version` there is SystemExit.
    """
    with lasting_streams() as out:
        status = _status(sys.argv[1:] if argv is None else argv)
        out.flush()
    if out.lost is None or status != EXIT_OK:
        return status
    return EXIT_PIPE if isinstance(out.lost, BrokenPipeError) else _failed(f"standard output: {out.lost}")


def _status(argv: list[str]) -> int:
    """Return the exit status of a command that has been run, what went wrong being said."""
    try:
        args = _parser().parse_args(argv)
        args.argv = argv
        with warning_lines(f"skfdrmfl {args.command}"):
            args.run(args)
    except UsageError as error:
        prog = error.prog or f"skfdrmfl {args.command}"
        print(f"{prog}: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (FileProblem, MissingExtra, OSError) as error:  # such as a full disk
        return _failed(error)
    except OutsideDomain as error:
        print(f"skfdrmfl: {error}", file=sys.stderr)
        return EXIT_OUTSIDE
    except MemoryError:
        return _failed("the memory of this machine does not suffice; leave out columns or rows, or take a larger one.")
    except Interrupted as error:
        print(f"\nskfdrmfl: interrupted; {error}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        print("\nskfdrmfl: interrupted; nothing was written.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK


def _failed(error: object) -> int:
    """Say what failed; return the status."""
    print(f"skfdrmfl: error: {error}", file=sys.stderr)
    return EXIT_FAILURE


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
