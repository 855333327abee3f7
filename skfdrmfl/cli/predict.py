"""The command `predict`: a model and a table become predictions, with their errors where the target is there."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from skfdrmfl.cli.columns import as_labels, numbers_of, shown, targets
from skfdrmfl.cli.errors import FileProblem, first_line, wrong
from skfdrmfl.cli.fit import names_beside
from skfdrmfl.cli.options import TABLE_FILE, add, add_names, add_reading
from skfdrmfl.cli.output import Writer, output_folder, picture_file
from skfdrmfl.cli.reading import digest, read_table
from skfdrmfl.cli.screen import interrupt_waits
from skfdrmfl.cli.trust import add_trust, check_strict, domain_columns, interval_columns, quietly
from skfdrmfl.common.extras import import_extra


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a table with a model that `fit` has written",
        description="Predict the rows of a table with a model that `fit` has written. Columns are found by their "
        "names; others are passed on to the result. Where the target is among them the errors are printed and drawn.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model, such as out/model.npz")
    parser.add_argument("file", metavar="FILE", type=Path, help=TABLE_FILE)
    add(parser, "--out FILE", "the predictions", type=Path, default=Path("out", "predictions.csv"))
    parser.add_argument("--scores", action="store_true", help="write the features Z too")
    measured = "column with measured values; without it those that the model was fitted to, where they are there"
    add_names(parser, "--target NAME", measured)
    add(parser, "--clients-column NAME", "column that says whose row it is, without it that of the fit")
    parser.add_argument("--no-figure", dest="figure", action="store_false", help="do not draw the errors")
    add_trust(parser)
    add_reading(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.out.suffix.lower() != ".csv":
        wrong("--out", args.out, "does not end in .csv", f"pass {args.out.with_suffix('.csv')}")
    if not args.model.is_file():
        raise FileProblem(f"{args.model} is not there; run `skfdrmfl fit` first, or name its model.")
    picture_name = f"{args.out.stem}.png"
    inputs = [args.model, args.model.with_name(names_beside(args.model)[1]), args.file]
    with output_folder("--out", args.out.parent, [args.out.name, picture_name], inputs) as write:
        frame, notes = read_table(args.file, args)
        with interrupt_waits():
            from skfdrmfl.estimator._transformer import FDRMFLTransformer
        try:
            model = FDRMFLTransformer.load(args.model)
        except ValueError as error:
            raise FileProblem(first_line(error)) from error
        record = _record_of(args.model)
        print("\n".join(notes), flush=True)
        X = _features(frame, model, record, args)
        try:
            predicted, Z = quietly(model.predict, X).reshape(len(X), -1), model.transform(X)
        except ValueError as error:
            raise FileProblem(f"{args.file} cannot be predicted: {first_line(error)}") from error
        names = _targets_of(args, record, predicted.shape[1])
        result = frame[[name for name in frame.columns if name not in X.columns]].copy()
        for j, name in enumerate(names):
            result[_free(f"predicted_{name}", result)] = predicted[:, j]
        domain, said = domain_columns(model, X, predicted, args)
        ends = interval_columns(model, X, predicted, names, _labels(frame, model, record, args), args)
        for name, values in {**ends, **domain}.items():
            result[_free(name, result)] = values
        for j in range(Z.shape[1] if args.scores else 0):
            result[_free(f"Z{j + 1}", result)] = Z[:, j]
        files: dict[str, Writer] = {args.out.name: partial(result.to_csv, index=False)}
        judged = _judge(frame, dict(zip(names, predicted.T, strict=True)), record, args)
        if args.figure and judged and (picture := picture_file(partial(_picture, judged), "predict", 130)):
            files[picture_name] = picture
        write(files)
    check_strict(said, args)


def _record_of(model: Path) -> dict[str, Any]:
    """Return the record that `fit` has written beside the model, an empty one where there is none."""
    path = model.with_name(names_beside(model)[1])
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and "targets" in record else {}


def _features(frame: Any, model: Any, record: dict[str, Any], args: argparse.Namespace) -> Any:
    """Return the columns that the model was fitted to, in its order, as numbers and labels."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        raise FileProblem(f"{args.model} knows no names of columns; it was fitted to an array, so predict in Python.")
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise FileProblem(
            f"{args.file} lacks {len(missing)} of the {len(names)} columns that the model was fitted to: "
            f"{shown(missing)}; its own are {shown(list(frame.columns))}."
        )
    others = [name for name in frame.columns if name not in set(names)]
    X = frame[names].copy()
    for name in names:
        if name in record.get("categories", ()):
            X[name] = as_labels(frame[name])
            continue
        X[name], odd = numbers_of(frame[name])
        if len(odd):
            raise FileProblem(
                f"{args.file} has {odd.iloc[0]!r} in column {name}, row {odd.index[0] + 1}, and the model takes "
                f"numbers; correct it, or pass --na {str(odd.iloc[0])!r}."
            )
    print(f"Predicted from {len(names)} columns by name; passed on: {shown(others) if others else 'no others'}.")
    return X


def _targets_of(args: argparse.Namespace, record: dict[str, Any], n_outputs: int) -> list[str]:
    """Return what the predictions are called."""
    names = args.target or record.get("targets") or [f"y{j + 1}" if n_outputs > 1 else "y" for j in range(n_outputs)]
    if len(names) != n_outputs:
        wrong("--target", ",".join(names), f"names {len(names)} columns", f"the model predicts {n_outputs}")
    return list(names)


def _labels(frame: Any, model: Any, record: dict[str, Any], args: argparse.Namespace) -> Any:
    """Return the clients of the rows as the model calls them; None where a row has none, or no column says."""
    column = args.clients_column or record.get("clients_column")
    if column not in frame.columns or frame[column].isna().any():
        return None
    return frame[column].astype(str if model.clients_.dtype.kind == "U" else object).to_numpy()


def _judge(frame: Any, predicted: dict[str, Any], record: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Print the errors where measured values are there; return these values, predictions and clients by target."""
    for option, asked in (("--target", args.target), ("--clients-column", filter(None, [args.clients_column]))):
        for name in asked:
            if name not in frame.columns:
                wrong(option, name, "is no column of the table", f"choose from {shown(list(frame.columns))}")
    measured = [name for name in predicted if name in frame.columns]
    if not measured:
        print("No measured values in the table: nothing to judge the predictions by.")
        return {}
    from skfdrmfl.metrics import chemometric_report

    clients_column = args.clients_column or record.get("clients_column")
    clients = frame[clients_column] if clients_column in frame.columns else None
    y = targets(frame, measured, allow_empty=True)
    what = "rmse is RMSEP, as far as the model has not seen these rows"
    if digest(args.file) == record.get("sha256"):
        what = "the model was fitted to this very file: rmse is RMSEC, and says little of new rows"
    judged = {}
    for name in measured:
        rows = y[name].notna() & (True if clients is None else clients.notna())
        if not rows.any():
            print(f"\n{name}: no measured values.")
            continue
        mine = None if clients is None else clients[rows].astype(str).to_numpy()
        judged[name] = y[name][rows].to_numpy(), predicted[name][rows.to_numpy()], mine
        print(f"\n{name}, {int(rows.sum())} rows with measured values ({what}):")
        print(chemometric_report(*judged[name]), flush=True)
    print()
    return judged


def _picture(judged: dict[str, Any]) -> Any:
    """Return the figure of predicted against measured values."""
    figure_class = import_extra("matplotlib.figure", "plot", "Figures need").Figure
    from skfdrmfl.inspection import PredictedMeasuredDisplay

    figure = figure_class(figsize=(4.6 * len(judged), 4.4), layout="constrained")
    axes = figure.subplots(1, len(judged), squeeze=False)[0]
    for ax, (target, (y, y_pred, clients)) in zip(axes, judged.items(), strict=True):
        PredictedMeasuredDisplay.from_predictions(y, y_pred, client_ids=clients, ax=ax)
        ax.set_title(target)
    return figure


def _free(name: str, result: Any) -> str:
    """Return the name, with a mark where the table has such a column already."""
    while name in result.columns:
        name += "_"
    return name
