"""What would leave a site, in order: a fit of its rows alone with a server in this memory, over no network."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from skfdrmfl.clients.policy import SitePolicy
from skfdrmfl.clients.remote.audit import Leaving, leaving
from skfdrmfl.clients.remote.channel import Loopback
from skfdrmfl.clients.remote.watch import Answer, Question, Watch
from skfdrmfl.common.page import size_text
from skfdrmfl.diagnosis.tables import Table, aligned, csv_text
from skfdrmfl.fit.parameters import is_private
from skfdrmfl.protocol.door import NoAnswer
from skfdrmfl.site.remote_fit import fit_over_channel
from skfdrmfl.site.site_data import SiteRows, site_of

FEW = 10  # rows of a part that a line warns of
# What only the server can set, or what speaks of other sites: of no consequence to what one site sends.
OF_OTHERS: dict[str, Any] = {
    "availability": None,
    "min_clients": 1,
    "n_byzantine": 0,
    "checkpoint_path": None,
    "warm_start": False,
    "verbose": 0,
}
# What leaves beside what the ledger counts, and what it tells.
UNCOUNTED = {
    "describe": "its label, numbers of rows and columns, which columns hold labels, a hash of names",
    "names": "names of columns, or a hash of the first of them",
    "count": "a number of rows",
    "prepare": "numbers of rows, by run",
}
# Sums of products fix fewer rows than columns up to a rotation.
PRODUCTS = ("products of columns", "products by fold", "products with directions", "products of neighbours")
TRAINED = ("parameters", "gradients", "mean gradients")


class DryRun(dict[str, Any]):
    """A table, a dict of columns of one row for each message that would leave; printed, rounds that are alike are one.

    Columns are "round"; "what", as the ledger calls it; "shape"; "bytes"; "rows" it is made from, and "fewest" of any
    part of it (-1: of none); "counted", whether the ledger counts it; "refused", why the policy would keep it back; and
    "reveals", what it gives away.
    """

    def __repr__(self) -> str:
        rows = [dict(zip(self, values, strict=True)) for values in zip(*self.values(), strict=True)]
        rounds = [(number, [_cells(row) for row in of_one]) for number, of_one in groupby(rows, itemgetter("round"))]
        lines = [["round", "what", "shape", "bytes", "rows", "fewest", "reveals"]]
        for cells, alike in groupby(rounds, itemgetter(1)):
            first, *others = [str(number) for number, _ in alike]
            lines += [["-".join([first, *others[-1:]]), *line] for line in cells]
        return "\n".join([*aligned(lines), "", self.summary])

    def to_csv(self) -> str:
        """Return the table as CSV, a line for each message."""
        return csv_text(self)

    @property
    def summary(self) -> str:
        """How much leaves, and where the policy ends it."""
        n_bytes, n_few = int(self["bytes"].sum()), int(((self["fewest"] >= 0) & (self["fewest"] < FEW)).sum())
        said = f"{len(self['what'])} messages, {size_text(n_bytes)}; {n_few} of them of fewer than {FEW} rows."
        refused = [(what, why) for what, why in zip(self["what"], self["refused"], strict=True) if why]
        if refused:
            said += f" The fit would end here: {refused[0][0]} is refused ({refused[0][1]})"
        return f"{said} Sites with other labels, or more of them, change shapes; rounds that stop early may be fewer."


class _Watching(Watch):
    """Keeps what leaves, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, Leaving, str]] = []

    def after(self, question: Question, answer: Answer) -> None:
        """Keep what leaves."""
        self.seen += [(question.round, one, answer.refused) for one in leaving(question, answer)]


def dry_run(
    estimator: Any, load_data: Callable[[], Any], label: Any, policy: SitePolicy | None = None, *, networks: int = 1
) -> DryRun:
    """Return what would leave a site in a fit, in order, from a fit of its rows alone that reaches no network.

    Parameters
    ----------
    estimator : FDRMFLTransformer
        As the site has it.
    load_data : callable
        Returns (X, y) or (X, y, groups), the rows of this site.
    label : str or int
        What the site is called.
    policy : SitePolicy, optional
        What the site gives. Where it refuses, the table ends. What it counts on disk stays as it is.
    networks : int, default=1
        How many networks a mixture has at most, as the server has it.

    Returns
    -------
    DryRun

    Raises
    ------
    ValueError
        The rows cannot be fitted, whatever the policy.
    """
    trial = clone(estimator).set_params(**OF_OTHERS)
    watching = _Watching()
    # What is wrong with rows is told here as it is, and to a server as its type alone.
    SiteRows(trial, load_data, label).check()
    with _counting_elsewhere(policy) as its_own, redirect_stdout(io.StringIO()):
        sites = {0: site_of(trial, load_data, label, [watching], policy=its_own)}
        if is_private(trial):  # which is that of one site among others
            sites[1] = site_of(trial, load_data, f"beside {label}")
        try:
            fit_over_channel(clone(trial), Loopback(sites), networks=networks)
        except NoAnswer:
            if not any(refused for _, _, refused in watching.seen):
                raise
    return DryRun(_table(watching.seen))


@contextmanager
def _counting_elsewhere(policy: SitePolicy | None) -> Iterator[SitePolicy | None]:
    """Give the policy with a copy of the file in which it counts."""
    if policy is None or policy.state is None:
        yield policy
        return
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder, "state.json")
        if Path(policy.state).exists():
            shutil.copyfile(policy.state, copied)
        yield replace(policy, state=copied)


def _table(seen: list[tuple[int, Leaving, str]]) -> Table:
    """Return the columns."""
    return {
        "round": np.array([number for number, _, _ in seen], dtype=np.int64),
        "what": np.array([one.what for _, one, _ in seen], dtype=object),
        "shape": np.fromiter((one.shape for _, one, _ in seen), object, len(seen)),
        "bytes": np.array([one.bytes for _, one, _ in seen], dtype=np.int64),
        "rows": np.array([-1 if one.rows is None else one.rows for _, one, _ in seen], dtype=np.int64),
        "fewest": np.array([-1 if one.fewest is None else one.fewest for _, one, _ in seen], dtype=np.int64),
        "counted": np.array([one.counted for _, one, _ in seen], dtype=bool),
        "refused": np.array([refused for _, _, refused in seen], dtype=object),
        "reveals": np.array([_revealed(one) for _, one, _ in seen], dtype=object),
    }


def _revealed(one: Leaving) -> str:
    """Return what a message gives away of single rows, beside what it is."""
    if not one.counted:
        return UNCOUNTED.get(one.what, "")
    of_labels, few = one.what == "labels of categories", one.fewest or 0
    if few == 1:
        if of_labels:
            return "a label that one row alone has"
        return "made from one row alone" if one.what in TRAINED else "one row apart: a sum of one row is the row"
    columns = max(_dimensions(one.shape), default=0)
    if one.what in PRODUCTS and 0 < few < columns:
        return f"{few} rows apart, of {columns} columns: these rows but for a rotation"
    if 0 < few < FEW:
        return f"a label that {few} rows have" if of_labels else f"{few} rows apart from the others"
    return "labels as they are written" if of_labels else ""


def _dimensions(shape: Any) -> Iterator[int]:
    """Yield all lengths in shapes of arrays."""
    for part in shape or ():
        if isinstance(part, tuple):
            yield from _dimensions(part)
        elif part is not None:
            yield part


def _cells(row: dict[str, Any]) -> list[str]:
    """Return a row as text, without its round."""
    rows = [str(row[name]) if row[name] >= 0 else "" for name in ("rows", "fewest")]
    said = f"refused: {row['refused']}" if row["refused"] else row["reveals"]
    return [row["what"], str(row["shape"]) if row["counted"] else "", str(row["bytes"]), *rows, said]
