"""The bill: everything with noise that clients have sent, and the epsilon that it adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from math import inf

from skfdrmfl.common.extras import MissingExtra, install
from skfdrmfl.common.tree import registered


@registered
@dataclass(frozen=True)
class Expense:
    """One kind of noisy answer, each client in it or not: adjacency is to add or remove one client."""

    what: str
    noise_multiplier: float  # standard deviation of the noise over the most that one client can move the sum (l2)
    sampling_rate: float  # probability with which each client takes part in it, by itself (Poisson sampling)
    times: int


def with_expense(bill: Sequence[Expense], expense: Expense) -> tuple[Expense, ...]:
    """Return the bill with one more line, or more of the last line if it is of the same kind."""
    if not expense.times:
        return tuple(bill)
    if bill and replace(bill[-1], times=expense.times) == expense:
        return (*bill[:-1], replace(expense, times=bill[-1].times + expense.times))
    return (*bill, expense)


def default_delta(n_clients: int) -> float:
    """Return K^-1.1, less than one over the number of clients."""
    return float(n_clients**-1.1)


def check_accountant() -> None:
    """Raise MissingExtra where nobody could work out epsilon."""
    if find_spec("dp_accounting") is None:
        raise MissingExtra(
            "privacy of clients needs the package dp-accounting, which is not installed; "
            f"run: {install('dp', 'dp-accounting')}, or set dp_noise_multiplier=0.0 and dp_clip_norm=inf."
        )


@lru_cache(maxsize=64)  # a bill takes seconds, and `epsilon_` is a property
def epsilon(bill: tuple[Expense, ...], delta: float) -> float:
    """Return epsilon of all that stands on the bill, at `delta`, by privacy loss distributions.

    An upper bound (pessimistic, Doroshenko et al. 2022); infinite where something was sent without noise.
    """
    if any(expense.noise_multiplier == 0 for expense in bill):
        return inf
    check_accountant()
    from dp_accounting import (
        GaussianDpEvent,
        NeighboringRelation,
        PoissonSampledDpEvent,
        SelfComposedDpEvent,
    )
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE)
    for expense in bill:
        event = GaussianDpEvent(expense.noise_multiplier)
        if expense.sampling_rate < 1:
            event = PoissonSampledDpEvent(expense.sampling_rate, event)
        accountant.compose(SelfComposedDpEvent(event, expense.times))
    return float(accountant.get_epsilon(delta))
