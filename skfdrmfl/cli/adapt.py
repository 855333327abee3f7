"""The command `adapt`: a model and few measured rows of a new instrument or site become a model for that."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from skfdrmfl.cli.fit import names_beside
from skfdrmfl.cli.folder import add_folder, digest
from skfdrmfl.cli.options import TABLE_FILE, add, add_names, add_reading
from skfdrmfl.cli.output import output_folder
from skfdrmfl.cli.predict import measured_in, read_for_model
from skfdrmfl.tables.errors import FileProblem, first_line, wrong
from skfdrmfl.tables.wording import counted, shown


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "adapt",
        help="make a model for a new instrument from few measured rows of it",
        description="Make a model for a new instrument or site from a model that `fit` has written and a table of few "
        "rows, ten or more, with measured values. Nothing is trained again. What was tried is printed.",
    )
    parser.set_defaults(run=run, clients_column=None)
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model, such as out/model.npz")
    parser.add_argument("file", metavar="FILE", type=Path, help=TABLE_FILE)
    add_names(parser, "--target NAME", "column with measured values (default: those that the model was fitted to)")
    ways = "bias: y + b; slope: a y + b; input: axis, gain and offset of spectra; head: a ridge; auto: what it takes"
    add(parser, "--how HOW", ways, choices=("auto", "bias", "slope", "input", "head"), default="auto")
    add(parser, "--save FILE", "the new model", type=Path, default=Path("out", "adapted.npz"))
    add_reading(parser)
    add_folder(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    import numpy as np

    if args.save.suffix != ".npz":
        wrong("--save", args.save, "does not end in .npz, as models do", f"pass {shlex.quote(f'{args.save}.npz')}")
    inputs = [args.model, args.model.with_name(names_beside(args.model)[1]), args.file]
    with output_folder("--save", args.save.parent, [args.save.name], inputs) as write:
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
        try:
            adapted = model.adapt(X[good], y, args.how)
        except ValueError as error:
            raise FileProblem(f"the model cannot be adapted to these rows: {first_line(error)}") from error
        from skfdrmfl.fit.saving import save

        about = record | {"targets": names, "sha256": digest(args.file)}
        write({args.save.name: partial(save, adapted, adapted._fitted, about=about)})
        print(adapted.adapted_, flush=True)
