"""The command `compare`: FDRMFL and its rivals on the same folds, of a table or of a set that is built in."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skfdrmfl.cli.columns import divide
from skfdrmfl.cli.folder import add_table, digest, read_input, refuse_folder_options
from skfdrmfl.cli.options import TABLE_FILE, add, add_command, at_least, names_meant
from skfdrmfl.cli.output import Write, output_folder, text_file, write_picture
from skfdrmfl.cli.parameters import transformer
from skfdrmfl.cli.rivals import rivals_of
from skfdrmfl.cli.screen import Interrupted, interrupt_waits, progress_bar
from skfdrmfl.cli.trust import quiet_suspects, warn_of_suspects
from skfdrmfl.common.wording import counted
from skfdrmfl.tables.errors import FileProblem, first_line, refuse, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    from skfdrmfl.compare import Comparison

# The options behind the arguments of `compare`, for its error messages.
OPTIONS = {
    "n_components": "--components",
    "n_seeds": "--seeds",
    "n_splits": "--folds",
    "random_state": "--seed",
    "client_ids": "--clients-column",
    "groups": "--groups-column",
    "rows": "FILE",
    "transformer": "--set",
    "rivals": "--rivals",
    "by_modality": "--by-modality",
    "n_permutations": "--permutations",
}
TABLE, FIGURE, VARIATIONS = "compare.json", "compare.png", "variations.png"
TECATOR = "tecator"  # what is compared on without a file


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    description = "Cross-validate FDRMFL beside PCA, TruncatedSVD, random projection, PLS and ridge, on the same "
    description += "folds. Prints a table; writes compare.json and compare.png. Without FILE: on near-infrared "
    description += "spectra of meat."
    parser = add_command(commands, "compare", run, description)
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help=f"{TABLE_FILE}, a row a sample")
    add_table(parser)
    group = parser.add_argument_group("the comparison")
    simulated = "number of simulated clients, where no column says whose row it is"
    add(group, "--clients K", simulated, type=at_least(1), default=3)
    schemes = ("iid", "dirichlet", "quantile")
    add(group, "--scheme", "how rows are dealt to simulated clients", choices=schemes, default="iid")
    rivals = "one more method: an estimator of scikit-learn's kind, such as sklearn.svm:SVR or "
    rivals += "'forest=sklearn.ensemble:RandomForestRegressor(n_estimators=300)'; may be repeated"
    add(group, "--rivals [NAME=]MODULE:CLASS", rivals, action="append", default=[])
    add(group, "--seeds N", "repetitions of all that is random", type=at_least(1), default=3)
    folds = "cross-validation folds (default: 5, or as many as there are groups)"
    add(group, "--folds N", folds, type=at_least(2))
    add(group, "--seed S", "first seed", type=at_least(0), default=0)
    add(group, "--out DIR", "folder for the results", type=Path, default=Path("out"))
    group.add_argument("--no-figure", dest="figure", action="store_false", help="draw nothing")
    group = parser.add_argument_group("how much is enough")
    curve = f"errors with 1/8, 1/4, 1/2 of each client's training rows too, and with fewer clients; draws {VARIATIONS}"
    group.add_argument("--learning-curve", action="store_true", help=curve)
    alone = f"errors with each modality alone, and without each, too; draws {VARIATIONS}"
    group.add_argument("--by-modality", action="store_true", help=alone)
    permuted = "cross-validate FDRMFL again N times with y permuted inside clients: is there anything to find?"
    add(group, "--permutations N", permuted, type=at_least(0), default=0)


@dataclass
class Task:
    """What is compared on: rows, their clients, and what is said of them."""

    X: Any
    y: Any
    client_ids: Any
    groups: Any
    named: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    start = time.perf_counter()
    inputs = [args.file] if args.file else []
    with output_folder("--out", args.out, (TABLE, FIGURE, VARIATIONS), inputs) as write:
        # Imported so late that a wrong argument or folder need not wait for torch and scikit-learn.
        with interrupt_waits():
            from skfdrmfl.compare import ComparisonInterrupted

        task = of_file(args) if args.file else of_tecator(args)
        if task.notes:
            print("\n".join(task.notes), end="\n\n", flush=True)
        try:
            comparison = compare_task(task, args, lambda comparison: _keep(comparison, task, args, write))
        except (ComparisonInterrupted, Exception) as error:
            if finished := getattr(error, "finished", None):
                _show(finished, task, args, write)
                if isinstance(error, ComparisonInterrupted):
                    raise Interrupted("what is finished is above and in the files.") from error
            if not isinstance(error, ValueError):
                raise
            rest = "; what was finished before is above and in the files" if finished else ""
            fact = "the comparison cannot be made with these rows"
            raise FileProblem(f"{fact}: {first_line(error)}{rest}") from error
        _show(comparison, task, args, write)
    print(f"Done in {time.perf_counter() - start:.0f} s.", file=sys.stderr)


def of_tecator(args: argparse.Namespace) -> Task:
    """Return the task on the set that is built in, its rows dealt to simulated clients."""
    of_table = {"--clients-column": args.clients_column, "--groups-column": args.groups_column}
    of_table |= {"--drop": ",".join(args.drop), "--modalities": args.modalities}
    refuse(of_table, "is for tables", "name a FILE too, or leave it out")
    refuse_folder_options(args, "is for files of instruments")
    from skfdrmfl.datasets import load_tecator

    args.target = names_meant(args.target) or ["fat"]
    for name in set(args.target) - {"fat", "water", "protein"}:
        wrong("--target", name, f"is not in {TECATOR}", "choose from fat, water, protein")
    data = load_tecator(args.target[0] if len(args.target) == 1 else args.target)
    named = {"data": TECATOR, "unit": "%", "scheme": args.scheme}
    return Task(data.data, data.target, _dealer(data.target, args, f" of {TECATOR}"), data.groups, named)


def of_file(args: argparse.Namespace) -> Task:
    """Return the task on a table: the rows of its clients, or dealt to simulated ones."""
    frame, read = read_input(args.file, args)
    columns = divide(frame, args, read)
    notes = columns.notes
    named = {"data": str(args.file), "sha256": digest(args.file), "unit": ""}
    if columns.groups is not None:
        from skfdrmfl.compare._arguments import N_SPLITS

        named["groups_column"] = args.groups_column
        n_groups = columns.groups.nunique()
        if args.folds is None and 1 < n_groups < N_SPLITS:
            notes.append(f"{n_groups} folds, as there are {n_groups} groups.")
    if columns.clients is not None:
        named["clients_column"] = args.clients_column
        clients = columns.clients.to_numpy()
    else:
        named["scheme"] = args.scheme
        clients = _dealer(columns.target, args)
        dealt = f"the rows are dealt to {args.clients} simulated clients ({args.scheme})"
        notes.append(f"No --clients-column: {dealt}; --clients 1 trains on all of them together.")
    return Task(columns.X, columns.target, clients, columns.groups, named, notes)


def compare_task(task: Task, args: argparse.Namespace, save: Callable[[Comparison], object]) -> Comparison:
    """Return the comparison on a task, progress shown; refusals name the option that is wrong."""
    from skfdrmfl.compare import InvalidArgument, compare

    model = transformer(args)
    rivals = rivals_of(args.rivals, args.seed)
    clients = task.client_ids(args.seed) if callable(task.client_ids) else task.client_ids
    with quiet_suspects():
        found = model._suspects_before(task.X, task.y, clients, task.groups)
    index = task.X.index if hasattr(task.X, "index") else range(len(task.X))
    warn_of_suspects(found, index, model)
    try:
        with progress_bar() as progress, quiet_suspects():
            return compare(
                task.X,
                task.y,
                task.client_ids,
                groups=task.groups,
                n_components=args.components,
                n_splits=args.folds,
                n_seeds=args.seeds,
                random_state=args.seed,
                transformer=model,
                rivals=rivals,
                progress=progress,
                learning_curve=args.learning_curve,
                by_modality=args.by_modality,
                n_permutations=args.permutations,
                save=save,
            )
    except InvalidArgument as error:
        # It is a ValueError too, and comes before what only a fit finds out.
        wrong(OPTIONS.get(error.name, error.name), error.value, error.fact, error.remedy)


def _dealer(y: Any, args: argparse.Namespace, of_data: str = "") -> Any:
    """Return the function of a seed that deals rows to simulated clients, of whom there are not more than rows."""
    from skfdrmfl.datasets import make_client_ids

    if args.clients > len(y):
        wrong("--clients", args.clients, f"is more than the {len(y)} rows{of_data}", f"pass at most {len(y)}")
    return lambda seed: make_client_ids(y, args.clients, args.scheme, random_state=seed)


def _keep(comparison: Comparison, task: Task, args: argparse.Namespace, write: Write) -> Comparison:
    """Write what is known so far; return it, with what was asked for."""
    command = shlex.join(["skfdrmfl", *args.argv])
    named = {**task.named, "target": ", ".join(args.target), "notes": task.notes, "command": command}
    comparison = replace(comparison, settings=named | comparison.settings)
    write({TABLE: text_file(comparison.to_json())})
    return comparison


def _show(comparison: Comparison, task: Task, args: argparse.Namespace, write: Write) -> None:
    """Write the files and print the table."""
    comparison = _keep(comparison, task, args, write)
    title = title_of(comparison)
    print(f"{title}\n\n{comparison.to_table()}\n\n{comparison.verdict()}\n", flush=True)
    if args.figure:
        look = {"title": title, "unit": comparison.settings["unit"]}
        write_picture(write, args.out / FIGURE, partial(comparison.plot, **look), "compare", 150)
        if comparison.variations:
            draw = partial(comparison.plot_variations, **look)
            write_picture(write, args.out / VARIATIONS, draw, "compare", 150)


def title_of(comparison: Comparison) -> str:
    """Return one line that says what was compared."""
    s = comparison.settings
    grouped = f" grouped by {s.get('groups_column', 'repeated samples')}" if s["grouped"] else ""
    how = s["clients_column"] if "clients_column" in s else s["scheme"]
    parts = (
        f"{s['n_samples']} rows x {s['n_features']} columns",
        counted(s["n_clients"], "client") + (f" ({how})" if s["n_clients"] > 1 else ""),
        counted(s["n_components"], "component"),
        f"{s['n_splits']} folds{grouped}",
        counted(s["n_seeds"], "seed"),
    )
    data = s["data"].capitalize() if s["data"] == TECATOR else Path(s["data"]).name
    unit = f" ({s['unit']})" if s["unit"] else ""
    return f"{data}, {s['target']}{unit}: {', '.join(parts)}"
