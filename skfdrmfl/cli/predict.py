"""The command `predict`: a model and a table become predictions, with their errors where the target is there."""

from __future__ import annotations

import argparse
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from skfdrmfl.cli.columns import as_labels, rules_said
from skfdrmfl.cli.folder import add_input, digest, read_input
from skfdrmfl.cli.options import TABLE_FILE, add, add_command, add_names
from skfdrmfl.cli.output import check_ending, output_folder, write_picture
from skfdrmfl.cli.parameters import model_of
from skfdrmfl.cli.trust import add_trust, domain_columns, interval_columns, over, quietly
from skfdrmfl.common.extras import new_figure
from skfdrmfl.common.wording import counted, no_numbers, pasted, shown
from skfdrmfl.tables.cells import KEY, Rule, marks_of, numbers_of, rule_of, truths_of
from skfdrmfl.tables.errors import FileProblem, as_problem, no_column, wrong
from skfdrmfl.tables.hints import stand_ins_of


class OutsideDomain(Exception):
    """Rows that were predicted lie outside the training rows, and --strict was asked for."""


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    description = "Predict the rows of a table with a model that `fit` has written. Columns are found by their "
    description += "names; others are passed on to the result. Where the target is among them the errors are printed"
    description += " and drawn."
    parser = add_command(commands, "predict", run, description)
    add_model_and_table(parser)
    add(parser, "--out FILE", "the predictions", type=Path, default=Path("out", "predictions.csv"))
    parser.add_argument("--scores", action="store_true", help="write the features Z too")
    measured = "column with measured values; without it those that the model was fitted to, where they are there"
    add_names(parser, "--target NAME", measured)
    add(parser, "--clients-column NAME", "column that says whose row it is, without it that of the fit")
    parser.add_argument("--no-figure", dest="figure", action="store_false", help="do not draw the errors")
    add_trust(parser)


def add_model_and_table(parser: Any) -> None:
    """Add what is asked of a model and a table that it is to read."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model, such as out/model.npz")
    parser.add_argument("file", metavar="FILE", type=Path, help=TABLE_FILE)
    add_input(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_ending("--out", args.out, ".csv")
    picture = args.out.with_name(f"{args.out.stem}.png")
    with output_folder("--out", args.out.parent, [args.out.name, picture.name], [args.model, args.file]) as write:
        model, record, frame, names, X, odd = read_for_model(args)
        predicted, Z = _predict(model, X, odd, args)
        result = frame[[name for name in frame.columns if name not in X.columns]].copy()
        columns = {f"predicted_{name}": predicted[:, j] for j, name in enumerate(names)}
        domain, said = domain_columns(model, X, predicted, args)
        columns |= interval_columns(model, X, predicted, names, _labels(frame, model, args), args) | domain
        columns |= {f"Z{j + 1}": Z[:, j] for j in range(Z.shape[1] if args.scores else 0)}
        for name, values in columns.items():
            while name in result.columns:  # the table has such a column already
                name += "_"
            result[name] = values
        write({args.out.name: partial(result.to_csv, index=False)})
        judged = _judge(frame, dict(zip(names, predicted.T, strict=True)), record, args)
        if args.figure and judged:
            write_picture(write, picture, partial(_picture, judged), "predict", 130)
    if args.strict and said is not None:  # after all has been written
        raise OutsideDomain(said)


def read_for_model(args: argparse.Namespace) -> tuple[Any, dict[str, Any], Any, list[str], Any, Any]:
    """Return model, record, table, targets, and what `_features` has of the table; what was read is printed."""
    if not args.model.is_file():
        raise FileProblem(f"{args.model} is not there; run `skfdrmfl fit` first, or name its model.")
    from skfdrmfl.fit.saving import read_about

    with as_problem():
        record = read_about(args.model)
    frame, notes = read_input(args.file, args, record)
    model = model_of(args.model)
    print("\n".join(notes), flush=True)
    names = _targets_of(args, record, len(model._fitted.target.mean))
    clients = [("--clients-column", args.clients_column)] if args.clients_column else []
    for option, name in [*(("--target", name) for name in args.target), *clients]:
        if name not in frame.columns:
            no_column(option, name, list(frame.columns))
    args.clients_column = args.clients_column or record.get("clients_column")
    frame = _renamed(frame, model)
    X, odd = _features(frame, model, record, args)
    return model, record, frame, names, X, odd


def _features(frame: Any, model: Any, record: dict[str, Any], args: argparse.Namespace) -> tuple[Any, Any]:
    """Return the columns that the model was fitted to, in its order, as numbers and labels, and cells that are neither.

    These cells are a Series by row and column; the table has NaN in their place, and in columns of modalities that are
    not there.
    """
    import pandas

    names = getattr(model, "feature_names_in_", None)
    if names is None:
        raise FileProblem(f"{args.model} knows no names of columns; it was fitted to an array, so predict in Python.")
    absent = _absent_modalities(frame, model, names, record, args)
    frame = frame.reindex(columns=[*frame.columns, *(name for name in names if name not in frame.columns)])
    columns: dict[str, Any] = {}
    odd: dict[tuple[int, str], Any] = {}
    rules: dict[str, Rule] = {}
    for name in names:
        if name in record.get("categories", ()):
            columns[name] = as_labels(frame[name])
            n_gaps = int(columns[name].isna().sum())
            if n_gaps and name not in absent:
                print(f"{name}: {counted(n_gaps, 'row')} without a label.")
            continue
        truths = truths_of(frame[name])  # as `fit` reads them
        columns[name], cells = numbers_of(frame[name] if truths is None else truths)
        rules[name] = rule_of(columns[name])
        odd |= {(row, name): cell for row, cell in cells.items()}
    others = [name for name in frame.columns if name not in columns]
    n_there = sum(name not in absent for name in names)
    for line in rules_said(rules):
        print(line)
    print(f"Predicted from {n_there} columns by name; passed on: {shown(others) if others else 'no others'}.")
    X = pandas.DataFrame(columns, index=frame.index)
    _say_stand_ins(X)
    return X, pandas.Series(odd, dtype=object)


def _say_stand_ins(columns: Any) -> None:
    """Say which number of a frame may stand for no value, the first of several."""
    for name, value, rows in stand_ins_of(columns)[:1]:
        mark = pasted("--na", f"{value:.15g}")
        where = f"{name} has {value:.15g} in row {int(rows[0]) + 1}"
        print(f"{where}, far from the rest; pass {mark} if that means missing.")


def _renamed(frame: Any, model: Any) -> Any:
    """Return the table with the model's names for columns that say the same otherwise, such as "1100 nm" for "1100"."""
    known = model._of_fit().column_names
    same = {} if known is None else known.same_as(frame.columns.tolist())
    if not same:
        return frame
    given = [f"{name!r} for {mine!r}" for name, mine in same.items()]
    print(f"Columns that say the same as those of the model: {shown(given, 2)}.")
    marks = marks_of(frame)
    decimals = {same.get(str(name), name): mark for name, mark in marks.decimals.items()}
    frame = frame.rename(columns=same)
    frame.attrs[KEY] = replace(marks, decimals=decimals)
    return frame


def _absent_modalities(
    frame: Any, model: Any, names: Sequence[str], record: dict[str, Any], args: argparse.Namespace
) -> set[str]:
    """Return the columns of modalities that the table lacks whole, if the fit knew rows without; refuse other gaps."""
    lacking = {name for name in names if name not in frame.columns}
    if not lacking:
        return lacking
    blocks = {name: [names[j] for j in columns] for name, columns in model.modalities_.items()}
    whole = {name: block for name, block in blocks.items() if lacking.issuperset(block)}
    of_whole = {name for block in whole.values() for name in block}
    if lacking == of_whole and len(whole) < len(blocks):
        named = " and ".join(f"{name} ({counted(len(block), 'column')})" for name, block in whole.items())
        if record.get("missing") == "keep":
            print(f"Not in the table, predicted as missing: {named}.")
            return lacking
        raise FileProblem(
            f"{args.file} has no columns of {named}, and the model was not fitted to rows that lack it; add them, or "
            "fit with --missing keep to a table in which some rows lack it."
        )
    raise FileProblem(
        f"{args.file} lacks {len(lacking)} of the {len(names)} columns that the model was fitted to: "
        f"{shown([name for name in names if name in lacking])}; its own are {shown(list(frame.columns))}."
    )


def _predict(model: Any, X: Any, odd: Any, args: argparse.Namespace) -> tuple[Any, Any]:
    """Return predictions (n, outputs) and Z (n, components), NaN in rows that cannot be predicted, which are named."""
    import numpy as np

    refused = {row: f"{cell!r} in column {name}" for (row, name), cell in reversed(list(odd.items()))}
    gaps = X.isna().to_numpy() + 2 * X.isin([np.inf, -np.inf]).to_numpy()
    by_gaps: dict[bytes, list[int]] = {}
    for i in np.flatnonzero(gaps.any(axis=1)).tolist():
        by_gaps.setdefault(gaps[i].tobytes(), []).append(i)
    for places in by_gaps.values():  # rows of the same gaps are taken or refused together: by the model, who knows
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.predict(X.iloc[places[:1]])
        except ValueError:
            names = [name for name, gap in zip(X.columns, gaps[places[0]], strict=True) if gap]
            refused = {X.index[i]: f"no value in {counted(len(names), 'column')}, {names[0]}" for i in places} | refused
    good = ~X.index.isin(list(refused))
    if refused:
        row, why = min(refused.items())
        if not good.any():
            raise FileProblem(
                f"{args.file} has no row that can be predicted; the first has {why}, and the model takes numbers; "
                "correct the table."
            )
        rows = shown([str(row + 1) for row in sorted(refused)])
        print(f"Not predicted, and left empty: {counted(len(refused), 'row')} ({rows}); row {row + 1} has {why}.")
    with as_problem(f"{args.file} cannot be predicted"):
        answers = quietly(model.predict, X[good]), model.transform(X[good])
    predicted, Z = (over(good, np.reshape(part, (good.sum(), -1))) for part in answers)
    return predicted, Z


def _targets_of(args: argparse.Namespace, record: dict[str, Any], n_outputs: int) -> list[str]:
    """Return what the predictions are called."""
    names = args.target or record.get("targets") or [f"y{j + 1}" if n_outputs > 1 else "y" for j in range(n_outputs)]
    if len(names) != n_outputs:
        wrong("--target", ",".join(names), f"names {len(names)} columns", f"the model predicts {n_outputs}")
    return list(names)


def _labels(frame: Any, model: Any, args: argparse.Namespace) -> Any:
    """Return the clients of the rows as the model calls them; None where a row has none, or no column says."""
    if args.clients_column not in frame.columns:
        return None
    column = frame[args.clients_column]
    labels = as_labels(column).astype(object) if model.clients_.dtype.kind == "U" else numbers_of(column)[0]
    return None if labels.isna().any() else labels.to_numpy()


def _judge(frame: Any, predicted: dict[str, Any], record: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Print the errors where measured values are there; return these values, predictions and clients by target."""
    import numpy as np

    measured = [name for name in predicted if name in frame.columns]
    if not measured:
        print("No measured values in the table: nothing to judge the predictions by.")
        return {}
    from skfdrmfl.metrics import chemometric_report, systematic_error

    clients = as_labels(frame[args.clients_column]) if args.clients_column in frame.columns else None
    what = "rmse is RMSEP, as far as the model has not seen these rows"
    if is_training_file := digest(args.file) == record.get("sha256"):
        what = "the model was fitted to this very file: rmse is RMSEC, and says little of new rows"
    if clients is not None and clients.isna().any():
        print(f"{counted(int(clients.isna().sum()), 'row')} without {args.clients_column}, not judged.")
    judged = {}
    for name in measured:
        y = measured_in(frame[name])
        rows = np.isfinite(y) & np.isfinite(predicted[name])
        rows &= True if clients is None else clients.notna().to_numpy()
        if not rows.any():
            print(f"\n{name}: no measured values.")
            continue
        mine = None if clients is None else clients[rows].astype(str).to_numpy()
        judged[name] = y[rows], predicted[name][rows], mine
        print(f"\n{name}, {int(rows.sum())} rows with measured values ({what}):")
        print(chemometric_report(*judged[name]), flush=True)
        found = systematic_error(*judged[name][:2])
        if found.remedy and not is_training_file:
            given = [part for asked in args.target for part in ("--target", asked)]
            command = shlex.join(["skfdrmfl", "adapt", str(args.model), str(args.file), *given])
            print(f"{name}: {found}; `{command}` makes a model for where these rows come from.")
    print()
    return judged


def measured_in(column: Any) -> Any:
    """Return reference values (n,), NaN where there is none; those that are no numbers are counted and named."""
    import numpy as np

    numbers, odd = numbers_of(column)
    _say_stand_ins(numbers.to_frame())
    y = numbers.to_numpy(dtype=np.float64)
    odd = column[column.index.isin(odd.index) | np.isinf(y)] if column.dtype.kind not in "bmM" else column.dropna()
    if len(odd):
        examples = shown([repr(value) for value in odd.astype(str).unique()], 3)
        print(f"{column.name}: {no_numbers(len(odd), 'value')} ({examples}), not judged.")
    return np.where(column.index.isin(odd.index), np.nan, y)


def _picture(judged: dict[str, Any]) -> Any:
    """Return the figure of predicted against measured values."""
    figure = new_figure(figsize=(4.6 * len(judged), 4.4), layout="constrained")
    from skfdrmfl.inspection import PredictedMeasuredDisplay

    axes = figure.subplots(1, len(judged), squeeze=False)[0]
    for ax, (target, (y, y_pred, clients)) in zip(axes, judged.items(), strict=True):
        PredictedMeasuredDisplay.from_predictions(y, y_pred, client_ids=clients, ax=ax)
        ax.set_title(target)
    return figure
