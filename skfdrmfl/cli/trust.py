"""What commands say of how far rows and predictions may be believed: columns of the result, and lines that count."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from skfdrmfl.cli.options import add
from skfdrmfl.common.wording import counted, shown


def add_trust(parser: Any) -> None:
    """Add the options of `predict`."""
    parser.add_argument(
        "--strict",
        action="store_true",
        help="end with status 3 where rows lie outside the training rows, or predictions outside the range of their y",
    )
    add(parser, "--level SHARE", "share of usual rows within each limit of the domain", type=_share, default=0.99)
    add(parser, "--confidence SHARE", "of the intervals around predictions", type=_share, default=0.9)


def over(rows: Any, values: Any, otherwise: Any = float("nan")) -> Any:
    """Return values of some rows, a mask (n,), as values of all rows, `otherwise` in the others."""
    import numpy as np

    whole = np.full((len(rows), *values.shape[1:]), otherwise)
    whole[rows] = values
    return whole


def domain_columns(model: Any, X: Any, predicted: Any, args: argparse.Namespace) -> tuple[dict[str, Any], str | None]:
    """Return the columns of the domain by name, and what --strict says of rows outside, which a line counts."""
    import numpy as np

    good = np.isfinite(predicted).all(1)
    try:
        table = model.domain(X[good], args.level)
    except ValueError as error:
        print(f"Not compared with the training rows: {error}")
        return {}, None
    outside, beyond = (int((~table[name]).sum()) for name in ("inside", "y_inside"))
    line = f"{outside} of {good.sum()} rows lie outside the training rows, "
    line += f"{beyond} predictions outside the range of their y"
    if outside:
        first = int((~table["inside"]).argmax())
        line += f"; row {np.flatnonzero(good)[first] + 1} is the first, moved by {table['moved_by'][first]}"
    print(f"{line}.", flush=True)
    columns = {name: over(good, np.asarray(values), None) for name, values in table.items()}
    return columns, line if outside or beyond else None


def interval_columns(
    model: Any, X: Any, predicted: Any, names: Sequence[str], clients: Any, args: argparse.Namespace
) -> dict[str, Any]:
    """Return the ends of intervals by the name of a column, of each target; a line says whose errors they are read off.

    `clients` (n,) are labels, or None: intervals are each client's own where all of these hold out enough rows, else
    those of all clients together. Models without rows held out, or with too few, have no such columns, which is said.
    """
    import numpy as np

    good, is_adapted = np.isfinite(predicted).all(1), hasattr(model, "adapted_")
    found, why = None, ""
    for labels in ([] if clients is None or is_adapted else [clients[good]]) + [None]:
        try:
            found = model.predict_interval(X[good], args.confidence, client_ids=labels)
            break
        except ValueError as error:
            why = why or str(error)
    if found is None:
        print(f"No intervals: {why}")
        return {}
    n_strange = int(good.sum()) if labels is None else int((~np.isin(labels, model.clients_)).sum())
    whose = "all clients together" if n_strange == good.sum() else "the row's own client"
    if 0 < n_strange < good.sum():
        whose += f", for {counted(n_strange, 'row')} of clients that the model does not know by all together"
    of = "the rows that the model was adapted to, each left out" if is_adapted else f"rows held out by {whose}"
    print(f"Intervals of confidence {args.confidence:g}, by errors on {of}.")
    if why:
        print(f"Not by each client's own: {why}")
    ends = over(good, found.reshape(int(good.sum()), -1, 2))  # (n, outputs, 2)
    sides = [(0, "lower"), (1, "upper")]
    return {f"{end}_{name}": ends[:, j, side] for j, name in enumerate(names) for side, end in sides}


def quietly(predict: Callable[[Any], Any], X: Any) -> Any:
    """Return predictions without the warning of rows far outside, which the line of `domain_columns` counts."""
    from skfdrmfl.estimator._trust import OutsideDomainWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideDomainWarning)
        return predict(X)


@contextmanager
def quiet_suspects() -> Iterator[None]:
    """Leave out warnings that number suspect rows as `fit` is given them; `warn_of_suspects` does as the file."""
    from skfdrmfl.server.suspects import SuspectRowsWarning

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ of \d+ rows look corrupt", SuspectRowsWarning)
        yield


def warn_of_suspects(found: Any, index: Any, model: Any) -> None:
    """Warn of training rows that look corrupt, more than in clean tables; `index` (n,) numbers them in the file."""
    from skfdrmfl.diagnosis.suspect_table import in_words, is_alarming
    from skfdrmfl.server.suspects import SuspectRowsWarning

    if found is None or not is_alarming(reasons := found.by_reason(), len(index)):
        return
    rows = shown([str(int(index[row]) + 1) for row in found.rows.tolist()])
    done = "they were left out, as asked"
    if model.suspects != "drop":
        done = "they train all the same; --set suspects=drop leaves them out, --set suspects=ignore looks at none"
    said = f"{len(found.rows)} of {counted(len(index), 'row')} look corrupt ({in_words(reasons)}): {rows}; {done}."
    warnings.warn(said, SuspectRowsWarning, stacklevel=2)


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is no share between 0 and 1; pass one such as 0.95.")
    return value
