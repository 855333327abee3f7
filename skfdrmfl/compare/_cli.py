"""The command line: it reads arguments, calls the library's functions and writes files."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

# Only the standard library is imported here: `--help` and wrong arguments are answered at once.
if TYPE_CHECKING:
    from skfdrmfl.compare import Comparison
    from skfdrmfl.compare._compare import Progress

Writer = Callable[[Path], object]
EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
TARGETS = {"tecator": ("fat", "water", "protein"), "corn": ("moisture", "oil", "protein", "starch")}
UNIT = "%"  # of every target above
# The options behind the arguments of `compare`, for its error messages.
OPTIONS = {"n_components": "--components", "n_seeds": "--seeds", "n_splits": "--folds", "random_state": "--seed"}
TABLE, FIGURE = "compare.json", "compare.png"


class _UsageError(Exception):
    """A wrong argument on the command line; the text of the exception is the whole message."""


class _Parser(argparse.ArgumentParser):
    """A parser that answers a wrong argument with one line and no usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise a wrong argument as an exception, which `main` prints."""
        raise _UsageError(f"{self.prog}: error: {message}; see {self.prog} --help")


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments without the program's name; None takes those of the process.

    Returns
    -------
    int
        Exit status: 0 if all went well, 1 if a file could not be read or written, 2 for a wrong argument,
        130 after Ctrl-C.

    Raises
    ------
    SystemExit
        After `--help` and `--version`, with status 0.
    """
    try:
        args = _parser().parse_args(argv)
        return _compare(args)
    except _UsageError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:  # such as a full disk
        print(f"skfdrmfl: error: {error}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        print("\nskfdrmfl: interrupted; nothing was written.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="skfdrmfl",
        description="Federated, supervised, multimodal dimensionality reduction.",
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_compare(commands)
    return parser


class _Version(argparse.Action):
    """The option `--version`, which reads the version only when it is asked for."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit", **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *unused: Any) -> NoReturn:
        from skfdrmfl._version import __version__

        print(f"skfdrmfl {__version__}")
        parser.exit()


def _add_compare(commands: Any) -> None:
    """Add the subcommand `compare` and its options."""
    summary = "cross-validate FDRMFL beside PCA, TruncatedSVD, random projection and PLS"
    parser = commands.add_parser(
        "compare",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}, with the same regressor on the same folds. Prints a "
        "table; writes compare.json and compare.png.",
    )

    def add(option: str, *, default: object = None, help: str, **kwargs: Any) -> None:
        shown = "" if default is None else " (default: %(default)s)"
        parser.add_argument(option, default=default, help=help + shown, **kwargs)

    add(
        "--data",
        choices=sorted(TARGETS, reverse=True),
        default="tecator",
        help="near-infrared spectra to use",
    )
    add("--path", metavar="FILE", help="the file with the corn data, which are not packed with the library")
    add("--target", metavar="NAME", help="what to predict (default: fat for tecator, moisture for corn)")
    add("--clients", type=_at_least(1), default=3, metavar="K", help="number of simulated clients")
    add(
        "--scheme",
        choices=("iid", "dirichlet", "quantile"),
        default="iid",
        help="how rows are dealt to the clients",
    )
    add("--components", type=_at_least(1), default=2, metavar="C", help="features a method may pass on")
    add("--seeds", type=_at_least(1), default=3, metavar="N", help="repetitions of all that is random")
    add("--folds", type=_at_least(2), default=5, metavar="N", help="cross-validation folds")
    add("--seed", type=_at_least(0), default=0, metavar="S", help="first seed")
    add("--out", type=Path, default=Path("out"), metavar="DIR", help="folder for the results")
    parser.add_argument("--no-figure", dest="figure", action="store_false", help="do not draw compare.png")


def _at_least(least: int) -> Callable[[str], int]:
    """Return a type for argparse: an integer of `least` or more."""

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of {least} or more")
        return value

    return integer


def _compare(args: argparse.Namespace) -> int:
    """Run the subcommand `compare` and return the exit status."""
    target = args.target or TARGETS[args.data][0]
    if target not in TARGETS[args.data]:
        _wrong("--target", target, f"is not in {args.data}", f"choose from {', '.join(TARGETS[args.data])}")
    with _output_folder(args.out) as write:
        # Imported so late that a wrong argument or folder need not wait for torch and scikit-learn.
        with _interrupt_waits():
            from skfdrmfl.compare import InvalidArgument, compare
            from skfdrmfl.datasets import make_client_ids

        data = _load(args.data, args.path, target)
        if args.clients > len(data.target):
            most = len(data.target)
            _wrong(
                "--clients",
                args.clients,
                f"is more than the {most} rows of {args.data}",
                f"pass at most {most}",
            )
        split = partial(_split, make_client_ids, data.target, args.clients, args.scheme)
        start = time.perf_counter()
        try:
            with _progress() as progress:
                comparison = compare(
                    data.data,
                    data.target,
                    split,
                    groups=data.get("groups"),
                    n_components=args.components,
                    n_splits=args.folds,
                    n_seeds=args.seeds,
                    random_state=args.seed,
                    progress=progress,
                )
        except InvalidArgument as error:
            _wrong(OPTIONS.get(error.name, error.name), error.value, error.fact, error.remedy)
        named = {"data": args.data, "target": target, "unit": UNIT, "scheme": args.scheme}
        comparison = replace(comparison, settings=named | comparison.settings)

        title = _title(comparison)
        print(f"{title}\n\n{comparison.to_table()}\n", flush=True)
        files: dict[str, Writer] = {TABLE: partial(_write_text, comparison.to_json())}
        if args.figure:
            files |= _figure_file(comparison, title)
        for path in write(files):
            print(f"Written: {path}")
        print(f"Done in {time.perf_counter() - start:.0f} s.", file=sys.stderr)
    return EXIT_OK


@contextmanager
def _interrupt_waits() -> Iterator[None]:
    """Hold Ctrl-C back: in the middle of the import of a compiled module it comes out as a broken installation."""
    if threading.current_thread() is not threading.main_thread():  # other threads have no say in signals
        yield
        return
    came = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *unused: came.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came.is_set():
        raise KeyboardInterrupt


def _split(make_client_ids: Any, y: Any, n_clients: int, scheme: str, seed: int) -> Any:
    """Return the client of each row under one seed."""
    return make_client_ids(y, n_clients, scheme, random_state=seed)


def _load(name: str, path: str | None, target: str) -> Any:
    """Return the data set of that name as a Bunch."""
    from skfdrmfl.datasets import fetch_corn, load_tecator

    if name == "tecator":
        if path is not None:
            _wrong("--path", path, "is not used: tecator is packed with the library", "leave it out")
        return load_tecator(target)
    try:
        return fetch_corn(path, target=target)
    except (OSError, ValueError) as error:
        raise _UsageError(f"skfdrmfl compare: error: argument --path: {error}") from error


def _wrong(option: str, value: object, fact: str, remedy: str) -> NoReturn:
    """Raise the usage error that names an option, its value, what is wrong with it and what to do."""
    raise _UsageError(f"skfdrmfl compare: error: argument {option}: {value} {fact}; {remedy}.")


def _title(comparison: Comparison) -> str:
    """Return one line that says what was compared."""
    s = comparison.settings
    folds = f"{s['n_splits']} folds" + (" grouped by repeated samples" if s["grouped"] else "")
    clients = "1 client" if s["n_clients"] == 1 else f"{s['n_clients']} clients ({s['scheme']})"
    components = "1 component" if s["n_components"] == 1 else f"{s['n_components']} components"
    seeds = "1 seed" if s["n_seeds"] == 1 else f"{s['n_seeds']} seeds"
    table = f"{s['n_samples']} rows x {s['n_features']} columns"
    what = f"{s['data'].capitalize()}, {s['target']} ({s['unit']})"
    return f"{what}: {table}, {clients}, {components}, {folds}, {seeds}"


def _write_text(text: str, path: Path) -> None:
    """Write a text file."""
    path.write_text(text, encoding="utf-8")


def _figure_file(comparison: Comparison, title: str) -> dict[str, Writer]:
    """Return the figure's file name and writer; nothing where matplotlib is missing, for the table needs none."""
    try:
        figure = comparison.plot(title=title, unit=UNIT)
    except ImportError as error:
        print(f"skfdrmfl compare: no figure: {error}", file=sys.stderr)
        return {}
    return {FIGURE: lambda path: figure.savefig(path, dpi=150, format="png")}


@contextmanager
def _output_folder(folder: Path) -> Iterator[Callable[[dict[str, Writer]], list[Path]]]:
    """Make sure that files can be written to `folder` and give a function that writes them, all or none.

    Files are prepared in a hidden folder inside `folder` and moved into place at the end, so that an interruption
    leaves no half of a file. Folders that were made for them are removed again if the work fails.
    """
    made: list[Path] = []
    try:
        try:
            made += (path for path in (folder, *folder.parents) if not path.exists())
            folder.mkdir(parents=True, exist_ok=True)
            for name in (TABLE, FIGURE):
                if (folder / name).is_dir():
                    _wrong("--out", folder, f"holds a folder named {name}", "move that away, or name another folder")
            staging = tempfile.TemporaryDirectory(prefix=".skfdrmfl-", dir=folder)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            _wrong("--out", folder, f"cannot be written to ({reason})", "name a folder that can")

        def write(writers: dict[str, Writer]) -> list[Path]:
            for name, writer in writers.items():
                writer(Path(staging.name, name))
            return [Path(staging.name, name).replace(folder / name) for name in writers]

        with staging:
            yield write
    except BaseException:
        _remove_empty(made)
        raise


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, innermost first, as far as they exist and are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


@contextmanager
def _progress() -> Iterator[Progress]:
    """Give a function that shows on stderr how far the work is: a bar if tqdm is installed, lines if not."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield _print_progress
        return
    bar = None

    def show(done: int, total: int, name: str) -> None:
        nonlocal bar
        if bar is None:  # not before: no bar above the message about a wrong argument
            bar = tqdm(total=total, file=sys.stderr, unit="fit", leave=False, dynamic_ncols=True)
        bar.set_description(name, refresh=False)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _print_progress(done: int, total: int, name: str) -> None:
    """Print a line for every tenth of the work."""
    tenth = done * 10 // total
    if done == 0 or tenth > (done - 1) * 10 // total:
        print(f"{10 * tenth:3d} %  {done} of {total} fits, {name}", file=sys.stderr, flush=True)
