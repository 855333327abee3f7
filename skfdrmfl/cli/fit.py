"""The command `fit`: a table becomes a model in a file, with a record of how and a picture of what it learned."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from skfdrmfl.cli.columns import Columns, divide
from skfdrmfl.cli.folder import add_table, digest, read_input
from skfdrmfl.cli.options import TABLE_FILE, add, add_command, at_least
from skfdrmfl.cli.output import check_ending, output_folder, text_file, write_picture
from skfdrmfl.cli.parameters import transformer
from skfdrmfl.cli.screen import Interrupted, interrupt_waits
from skfdrmfl.cli.trust import quiet_suspects, warn_of_suspects
from skfdrmfl.common.extras import new_figure
from skfdrmfl.tables.errors import as_problem

FAR_APART = 2.0  # an error on rows held out over that on rows fitted to


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    description = "Train FDRMFL on a table and write the model to a file. Beside it stand a record of how it was "
    description += "made, and a picture of its training and of what it looks at."
    parser = add_command(commands, "fit", run, description)
    parser.add_argument("file", metavar="FILE", type=Path, help=TABLE_FILE)
    add_table(parser, "keep")
    add(parser, "--random-state S", "seed of all that is random", type=at_least(0), default=0)
    save = "the model; beside it stand its record (.json) and picture (.png)"
    add(parser, "--save FILE", save, type=Path, default=Path("out", "model.npz"))
    parser.add_argument("--no-figure", dest="figure", action="store_false", help="do not draw the picture")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    start = time.perf_counter()
    check_ending("--save", args.save, ".npz")
    record_name, picture = f"{args.save.stem}.json", args.save.with_suffix(".png")
    names = [args.save.name, record_name, picture.name]
    with output_folder("--save", args.save.parent, names, [args.file]) as write:
        frame, notes = read_input(args.file, args)
        with interrupt_waits():
            from skfdrmfl.fit.saving import save

            model = transformer(args, random_state=args.random_state)
        columns = divide(frame, args, notes)
        if columns.clients is None:
            columns.notes.append("No --clients-column: all rows are one client's, which is ordinary training.")
        print("\n".join(columns.notes), end="\n\n", flush=True)
        facts = _facts(columns, args) | {name: frame.attrs.get(name) for name in ("signal", "unit")}
        with quiet_suspects():
            interrupted = _train(model, columns)
        found = model._fitted.suspects
        warn_of_suspects(found, columns.X.index, model)
        if found is not None and model.suspects == "drop":
            columns = columns.without(found.rows)
        write({args.save.name: partial(save, model, model._fitted, about=facts)})
        record = facts | _record(model, columns, args)
        write({record_name: text_file(json.dumps(record, indent=1, ensure_ascii=False) + "\n")})
        print(errors_text(args.target, record["rmsec"], record["rmse_held_out"]))
        print(model.diagnose(), flush=True)
        if args.figure:
            write_picture(write, picture, lambda: _picture(model, columns), "fit", 130)
    if interrupted:
        rounds = f"{model.n_rounds_} of {model.n_rounds} rounds"
        raise Interrupted(f"the model that is written is that after {rounds}.")
    print(f"Done in {time.perf_counter() - start:.0f} s.", file=sys.stderr)


def _train(model: Any, columns: Columns) -> bool:
    """Fit the model, rounds shown on standard error; return whether Ctrl-C ended it after some of them."""
    labels = {"client_ids": columns.clients, "groups": columns.groups}
    verbose, model.verbose = model.verbose, max(1, model.verbose)
    try:
        with redirect_stdout(sys.stderr), as_problem("the model cannot be fitted to these rows"):
            given = {name: values.to_numpy() for name, values in labels.items() if values is not None}
            model.fit(columns.X, columns.target, **given)
    except KeyboardInterrupt:
        if getattr(model, "n_rounds_", 0) < 1:
            raise
        return True
    finally:
        model.verbose = verbose
    return False


def held_out_errors(model: Any, y: Any) -> list[float] | None:
    """Return the RMSE of each target of a frame y on rows held out inside clients, None where one is not known."""
    import numpy as np

    for member in getattr(model, "members_", ()):
        if member["name"] == "mixture":
            errors = np.atleast_1d(np.asarray(member["error"], dtype=np.float64))
            return errors.tolist() if errors.shape == (y.shape[1],) and np.isfinite(errors).all() else None
    squared = getattr(model, "history_", {}).get("validation_mse", ())
    if len(squared) and y.shape[1] == 1:  # of several targets it is their mean
        return [float(np.sqrt(np.nanmin(squared)) * y.iloc[:, 0].std(ddof=0))]  # it is of standardised y
    return None


def errors_text(targets: Sequence[str], rmsec: Sequence[float], held_out: Sequence[float] | None) -> str:
    """Return what is known of the errors on rows fitted to and on others, and where they are far apart."""

    def named(errors: Sequence[float]) -> str:
        return ", ".join(f"{name} {error:.4g}" for name, error in zip(targets, errors, strict=True))

    if held_out is None:
        return (
            f"RMSEC {named(rmsec)}, on the rows it was fitted to; a new row errs more. No rows were held out that say "
            "how much: `skfdrmfl compare` of the same table does."
        )
    lines = [
        f"RMSEC {named(rmsec)}, on the rows it was fitted to.",
        f"RMSE {named(held_out)}, on rows held out inside clients; expect that of new rows.",
    ]
    for name, fitted, other in zip(targets, rmsec, held_out, strict=True):
        if other > FAR_APART * fitted:
            lines.append(
                f"{name}: rows held out err {other / fitted if fitted else float('inf'):.3g} times as much as rows "
                "fitted to. The model has learned these rows and not only what holds of new ones; more rows help, and "
                "`skfdrmfl compare` says whether a simpler method errs less."
            )
    return "\n".join(lines)


def _facts(columns: Columns, args: argparse.Namespace) -> dict[str, Any]:
    """Return what `predict` has to know of the table beside the model, as plain values."""
    return {
        "targets": list(args.target),
        "features": list(columns.X.columns),
        "categories": list(args.categories),
        "clients_column": args.clients_column,
        "missing": args.missing,
        "sha256": digest(args.file),
    }


def _record(model: Any, columns: Columns, args: argparse.Namespace) -> dict[str, Any]:
    """Return how the model was made, as plain values, beside the facts that its file has."""
    from skfdrmfl.common.version import versions
    from skfdrmfl.metrics import rmsec

    predicted = model.predict(columns.X).reshape(len(columns.y), -1)
    n_rows = getattr(model, "n_samples_per_client_", None)
    return {
        "groups_column": args.groups_column,
        "n_samples": len(columns.y),
        "clients": {} if n_rows is None else dict(zip(map(str, model.clients_), n_rows.tolist(), strict=True)),
        "n_rounds": int(model.n_rounds_),
        "rmse_held_out": held_out_errors(model, columns.y),
        "rmsec": [rmsec(columns.y[name], predicted[:, j]) for j, name in enumerate(args.target)],
        "parameters": repr(model),
        "data": str(args.file),
        "notes": columns.notes,
        "ledger": model.federation_log_.by_kind(),
        "versions": versions(),
        "command": shlex.join(["skfdrmfl", *args.argv]),
    }


def _picture(model: Any, columns: Columns) -> Any:
    """Return the figure of the model: its training, Z of the rows, and importances."""
    figure = new_figure(figsize=(13, 3.8), layout="constrained")
    from skfdrmfl.inspection import HistoryDisplay, ImportanceDisplay, ScoresDisplay

    clients = None if columns.clients is None else columns.clients.to_numpy()
    y = columns.y.iloc[:, 0]  # its name is that of the colours
    panels = {
        "training": lambda ax: HistoryDisplay.from_estimator(model, ax=ax),
        "features Z": lambda ax: ScoresDisplay.from_estimator(model, columns.X, y, client_ids=clients, ax=ax),
        "importance": lambda ax: ImportanceDisplay.from_estimator(model, ax=ax),
    }
    for ax, (title, draw) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        try:
            draw(ax)
        except (ValueError, AttributeError, TypeError) as error:  # no rounds, one component, private: said in its place
            ax.clear()
            ax.text(0.5, 0.5, str(error), ha="center", va="center", wrap=True, fontsize=8, transform=ax.transAxes)
        drawn = ax.get_title()  # of a mixture, which network's training it is
        ax.set_title(f"{title}\n{drawn}" if drawn else title)
    return figure
