"""The command `fit`: a table becomes a model in a file, with a record of how and a picture of what it learned."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from skfdrmfl.cli.columns import Columns, divide
from skfdrmfl.cli.errors import FileProblem, Interrupted, first_line, wrong
from skfdrmfl.cli.options import add, add_columns, add_missing, add_model, add_reading, at_least
from skfdrmfl.cli.output import Writer, output_folder, text_file
from skfdrmfl.cli.parameters import transformer
from skfdrmfl.cli.reading import digest, read_table
from skfdrmfl.cli.screen import interrupt_waits


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "fit",
        help="train FDRMFL on a table and write the model to a file",
        description="Train FDRMFL on all rows of a table and write the model, a record of how it was made, and a "
        "picture of its training and of what it looks at.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("file", metavar="FILE", type=Path, help="table: .csv, .tsv, .txt, .parquet or .xlsx")
    add_columns(parser)
    add_missing(parser, "keep")
    add_reading(parser)
    add_model(parser)
    add(parser, "--random-state", type=at_least(0), default=0, metavar="S", help="seed of all that is random")
    add(
        parser,
        "--save",
        type=Path,
        default=Path("out", "model.npz"),
        metavar="FILE",
        help="the model; beside it stand its record (.json) and picture (.png)",
    )
    parser.add_argument("--no-figure", dest="figure", action="store_false", help="do not draw the picture")


def names_beside(model: Path) -> tuple[str, str, str]:
    """Return the names of the model's file, its record and its picture."""
    return model.name, f"{model.stem}.json", f"{model.stem}.png"


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    start = time.perf_counter()
    if args.save.suffix != ".npz":
        wrong("fit", "--save", args.save, "does not end in .npz, as files of models do", f"pass {args.save}.npz")
    names = names_beside(args.save)
    with output_folder("fit", "--save", args.save.parent, names, [args.file]) as write:
        frame, notes = read_table(args.file, args, "fit")
        with interrupt_waits():
            model = transformer(args, "fit", random_state=args.random_state)
        columns = divide(frame, args, "fit")
        if columns.clients is None:
            columns.notes.append("No --clients-column: all rows are one client's, which is ordinary training.")
        print("\n".join([*notes, *columns.notes]), end="\n\n", flush=True)
        interrupted = _train(model, columns)
        record = _record(model, columns, args, notes)
        print(f"RMSEC {_per_target(args.target, record['rmsec'])}, on the rows it was fitted to; a new row errs more.")
        print(model.diagnose(), flush=True)
        model_name, record_name, picture = names
        files: dict[str, Writer] = {
            model_name: model.save,
            record_name: text_file(json.dumps(record, indent=1, ensure_ascii=False) + "\n"),
        }
        if args.figure:
            files |= _picture(picture, model, columns)
        for path in write(files):
            print(f"Written: {path}")
    if interrupted:
        rounds = f"{model.n_rounds_} of {model.n_rounds} rounds"
        raise Interrupted(f"the model that is written is that after {rounds}.")
    print(f"Done in {time.perf_counter() - start:.0f} s.", file=sys.stderr)


def _train(model: Any, columns: Columns) -> bool:
    """Fit the model, rounds shown on standard error; return whether Ctrl-C ended it after some of them.

    Raises
    ------
    FileProblem
        The rows cannot be fitted to.
    """
    y = columns.y.iloc[:, 0] if columns.y.shape[1] == 1 else columns.y
    labels = {
        name: values.to_numpy()
        for name, values in (("client_ids", columns.clients), ("groups", columns.groups))
        if values is not None
    }
    verbose, model.verbose = model.verbose, max(1, model.verbose)
    try:
        with redirect_stdout(sys.stderr):
            model.fit(columns.X, y, **labels)
    except KeyboardInterrupt:
        if getattr(model, "n_rounds_", 0) < 1:
            raise
        return True
    except ValueError as error:
        raise FileProblem(f"the model cannot be fitted to these rows: {first_line(error)}") from error
    finally:
        model.verbose = verbose
    return False


def _record(model: Any, columns: Columns, args: argparse.Namespace, notes: list[str]) -> dict[str, Any]:
    """Return how the model was made, as plain values."""
    from skfdrmfl.compare._versions import versions
    from skfdrmfl.metrics import rmsec

    predicted = model.predict(columns.X).reshape(len(columns.y), -1)
    return {
        "targets": list(args.target),
        "clients_column": args.clients_column,
        "groups_column": args.groups_column,
        "features": list(columns.X.columns),
        "categories": list(args.categories),
        "n_samples": len(columns.y),
        "clients": {str(k): int(v) for k, v in zip(model.clients_, model.n_samples_per_client_, strict=True)}
        if hasattr(model, "n_samples_per_client_")
        else {},
        "n_rounds": int(model.n_rounds_),
        "rmsec": [rmsec(columns.y[name], predicted[:, j]) for j, name in enumerate(args.target)],
        "parameters": repr(model),
        "data": str(args.file),
        "sha256": digest(args.file),
        "notes": [*notes, *columns.notes],
        "ledger": model.federation_log_.by_kind(),
        "versions": versions(),
        "command": shlex.join(["skfdrmfl", *args.argv]),
    }


def _per_target(targets: list[str], values: list[float]) -> str:
    """Return a value for each target in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(targets, values, strict=True))


def _picture(name: str, model: Any, columns: Columns) -> dict[str, Writer]:
    """Return the writer of the model's picture; nothing where matplotlib is missing or there is nothing to draw."""
    try:
        from matplotlib.figure import Figure

        from skfdrmfl.inspection import HistoryDisplay, ImportanceDisplay, ScoresDisplay
    except ImportError as error:
        print(f'skfdrmfl fit: no figure ({error}); run: pip install "skfdrmfl[plot]"', file=sys.stderr)
        return {}
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    clients = None if columns.clients is None else columns.clients.to_numpy()
    y = columns.y.iloc[:, 0].to_numpy()
    for ax, title, draw in (
        (axes[0], "training", lambda ax: HistoryDisplay.from_estimator(model, ax=ax)),
        (
            axes[1],
            "features Z",
            lambda ax: ScoresDisplay.from_estimator(model, columns.X, y, client_ids=clients, ax=ax),
        ),
        (axes[2], "importance", lambda ax: ImportanceDisplay.from_estimator(model, ax=ax)),
    ):
        try:
            draw(ax)
        except (ValueError, AttributeError, TypeError) as error:  # no rounds, one component, private: said in its place
            ax.clear()
            ax.text(0.5, 0.5, str(error), ha="center", va="center", wrap=True, fontsize=8, transform=ax.transAxes)
        ax.set_title(title)
    return {name: lambda path: figure.savefig(path, dpi=130, format="png")}
