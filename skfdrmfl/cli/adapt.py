"""The command `adapt`: a model and few measured rows of a new instrument or site become a model for that."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from skfdrmfl.cli.folder import digest
from skfdrmfl.cli.options import add, add_command, add_names
from skfdrmfl.cli.output import check_ending, output_folder
from skfdrmfl.cli.predict import add_model_and_table, measured_in, read_for_model
from skfdrmfl.common.wording import counted, shown
from skfdrmfl.tables.errors import FileProblem, as_problem


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    description = "Make a model for a new instrument or site from few measured rows of it, ten or more. Nothing is "
    description += "trained again. What was tried is printed."
    parser = add_command(commands, "adapt", run, description)
    parser.set_defaults(clients_column=None)
    add_model_and_table(parser)
    add_names(parser, "--target NAME", "column with measured values (default: those that the model was fitted to)")
    ways = "bias: y + b; slope: a y + b; input: axis, gain and offset of spectra; head: a ridge; auto: what it takes"
    add(parser, "--how HOW", ways, choices=("auto", "bias", "slope", "input", "head"), default="auto")
    add(parser, "--save FILE", "the new model", type=Path, default=Path("out", "adapted.npz"))


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    import numpy as np

    check_ending("--save", args.save, ".npz")
    with output_folder("--save", args.save.parent, [args.save.name], [args.model, args.file]) as write:
        model, record, frame, names, X, odd = read_for_model(args)
        absent = [name for name in names if name not in frame.columns]
        if absent:
            raise FileProblem(f"{args.file} has no column {shown(absent)} of measured values; name them with --target.")
        y = np.column_stack([measured_in(frame[name]) for name in names])
        good = np.isfinite(y).all(1) & ~X.index.isin([row for row, _ in odd.index])
        if not good.all():
            rows = shown([str(row + 1) for row in np.flatnonzero(~good).tolist()])
            print(f"Left out, without a value that is taken: {counted(int((~good).sum()), 'row')} ({rows}).")
        if not good.any():
            raise FileProblem(f"{args.file} has no row to adapt to; it takes measured {shown(names)}, and no gaps.")
        y = y[good, 0] if model._fitted.y_ndim == 1 else y[good]
        with as_problem("the model cannot be adapted to these rows"):
            adapted = model.adapt(X[good], y, args.how)
        from skfdrmfl.fit.saving import save

        about = record | {"targets": names, "sha256": digest(args.file)}
        write({args.save.name: partial(save, adapted, adapted._fitted, about=about)})
        print(adapted.adapted_, flush=True)
