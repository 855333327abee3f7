"""Privacy of clients as the parameters ask for it: what it means to the rounds, and what it cannot go with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Present
from skfdrmfl.common.randomness import seed_of
from skfdrmfl.common.tree import registered
from skfdrmfl.data.client_ids import check_client_ids
from skfdrmfl.data.transforms import BlockSpectrum, BlockTransform, unchanged
from skfdrmfl.fit.parameters import is_private, value_of
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.plan import ClientPrivacy, RunPlan, Schedule
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.algorithms.base import PRIVACY
from skfdrmfl.server.privacy.accountant import Expense, check_accountant, default_delta, epsilon, with_expense
from skfdrmfl.server.privacy.moments import MOMENTS_NOISE, Bounds, standardisations

# Parameters, the values that they may have with privacy, why they may have no others, and what to use.
_ASKS = "asks clients for more than privacy can pay for"
_LOOKS = "looks at each client's update, but with privacy only their noisy sum is sent"
_COMES = "says who is there, and with privacy each client comes by chance, which hides who does"
_COUNTS = "counts those who come, and with privacy nobody may know how many do"
REFUSED: tuple[tuple[str, tuple[Any, ...], str, str], ...] = (
    (
        "preprocessing",
        ("standardize", None),
        _ASKS,
        'preprocessing="standardize" (noisy whitening is worse than none), or None',
    ),
    ("early_stopping", (False,), _ASKS, "early_stopping=False and choose n_rounds on public data"),
    ("aggregation", ("mean",), _LOOKS, "aggregation='mean'"),
    ("preaggregation", (None,), _LOOKS, "preaggregation=None"),
    ("availability", (None,), _COMES, "availability=None"),
    ("min_clients", (1,), _COUNTS, "min_clients=1"),
)


@registered
@dataclass(frozen=True)
class Account:
    """What private fits have spent, and where their clip stands."""

    bill: tuple[Expense, ...]
    clip_norm: float  # the next round's
    n_clients: int  # the most that any fit had

    def epsilon(self, delta: float | None) -> float:
        """Return epsilon of the bill; None for delta is `default_delta`."""
        return epsilon(self.bill, self.delta(delta))

    def delta(self, delta: float | None) -> float:
        """Return the delta that epsilon is for."""
        return default_delta(self.n_clients) if delta is None else float(delta)

    def after(self, what: str, privacy: ClientPrivacy, times: int, clip_norm: float) -> Account:
        """Return the account after some rounds."""
        expense = Expense(what, privacy.noise_multiplier, privacy.sampling_rate, times)
        return Account(with_expense(self.bill, expense), clip_norm, max(self.n_clients, privacy.n_clients))

    def repeated(self, privacy: ClientPrivacy | None, n_preparations: int, n_rounds: int) -> Account:
        """Return the account of a fit that is started again, after some of what it sent was lost."""
        if privacy is None:
            return self
        bill = with_expense(self.bill, replace(_of_moments(privacy.noise_multiplier), times=n_preparations))
        return replace(self, bill=bill).after("training rounds sent again", privacy, n_rounds, self.clip_norm)


def account_of(estimator: Any, n_clients: int) -> Account:
    """Return the account of a new fit, on which its preprocessing stands already."""
    return Account((_of_moments(float(estimator.dp_noise_multiplier)),), float(estimator.dp_clip_norm), n_clients)


def _of_moments(noise_multiplier: float) -> Expense:
    """Return what it costs to standardise once."""
    return Expense("preprocessing", MOMENTS_NOISE * noise_multiplier, 1.0, 1)


def noisy_blocks(
    estimator: Any,
    federation: Federation,
    blocks: Mapping[str, Block],
    kinds: Mapping[str, str | None],
    n_features: int,
    n_outputs: int,
) -> dict[str, BlockSpectrum | BlockTransform]:
    """Return what each block's columns go through; those that are standardised, from noisy moments."""
    bounds = {}
    for name, block in blocks.items():
        if kinds[name] is not None:
            if block.columns is None:
                bounds[name] = bounds_of(estimator.dp_bounds, "y", n_outputs)
            else:
                bounds[name] = bounds_of(estimator.dp_bounds, "X", n_features).of(block.columns)
    asked = {name: blocks[name] for name in bounds}
    multiplier = MOMENTS_NOISE * float(estimator.dp_noise_multiplier)
    found = standardisations(federation, asked, bounds, len(federation.roster().positions), multiplier)
    left = {n: unchanged(len(b.columns), b.view) for n, b in blocks.items() if n not in found and b.columns is not None}
    return {name: (found | left)[name] for name in blocks}


def made_private(
    estimator: Any, run: RunPlan, schedule: Schedule, account: Account, n_clients: int
) -> tuple[RunPlan, Schedule]:
    """Return a run and its schedule with what protects the clients; a clip that adapts goes on from the account's."""
    adapts = estimator.dp_target_quantile is not None
    privacy = ClientPrivacy(
        float(estimator.dp_noise_multiplier),
        account.clip_norm if adapts else float(estimator.dp_clip_norm),
        float(estimator.participation),
        n_clients,
        float(estimator.dp_target_quantile) if adapts else None,
    )
    # Who knew in which order a client takes its rows would see that it depends on the places of the others.
    return replace(run, seed=seed_of(None)), replace(schedule, privacy=privacy)


def nameless(client_ids: Any, n_rows: int) -> NDArray[np.int64]:
    """Return client ids (n,) as numbers from 0: what clients are called is not paid for."""
    codes = np.unique(check_client_ids(client_ids, n_rows), return_inverse=True)[1].reshape(-1).astype(np.int64)
    if codes.max(initial=0) == 0:
        raise ValueError(
            "privacy is that of one client among others, but there is one client; pass client_ids, or set "
            "dp_noise_multiplier=0.0 and dp_clip_norm=inf."
        )
    return codes


def check_private(estimator: Any, earlier: Account | None = None, goes_on: bool = False) -> None:
    """Raise ValueError where parameters ask for something that privacy cannot pay for, before anything is sent."""
    private = is_private(estimator)
    if goes_on and private != (earlier is not None):
        was, now = ("private", "off") if earlier is not None else ("not private", "on")
        raise ValueError(
            f"the model to go on from was trained {was}, but privacy is {now} now; set dp_noise_multiplier and "
            "dp_clip_norm back, or clone the estimator and fit it anew."
        )
    if not private:
        if estimator.dp_target_quantile is not None:
            raise ValueError(
                f"dp_target_quantile={estimator.dp_target_quantile} needs a finite clip to start from; set "
                "dp_clip_norm."
            )
        return
    if estimator.dp_clip_norm == inf:
        raise ValueError(
            f"dp_noise_multiplier={estimator.dp_noise_multiplier} is relative to dp_clip_norm, which is inf; set "
            "dp_clip_norm to about the median length of an update, such as 1.0."
        )
    for name, allowed, reason, remedy in REFUSED:
        value = getattr(estimator, name)
        if np.ndim(value) or value not in allowed:
            raise ValueError(f"{name}={value!r} {reason}; use {remedy}.")
    if estimator.pretreatment not in (None, "auto") and estimator.preprocessing is not None:
        raise ValueError(
            f"pretreatment={estimator.pretreatment!r} standardises columns that dp_bounds, which are of X, say nothing "
            "about; use preprocessing=None, or pass X pre-treated, with bounds of that, and pretreatment=None."
        )
    algorithm = value_of(estimator, "algorithm")
    refuses = ALGORITHMS[algorithm].refuses
    if PRIVACY in refuses:
        others = ", ".join(repr(name) for name, algorithm in ALGORITHMS.items() if PRIVACY not in algorithm.refuses)
        raise ValueError(f"algorithm={algorithm!r} {refuses[PRIVACY]}; use one of {others}.")
    if estimator.dp_noise_multiplier > 0:
        check_accountant()


def check_no_labels(discrete: Collection[int]) -> None:
    """Raise ValueError where there are discrete columns: their labels would be sent without noise."""
    if discrete:
        raise ValueError(
            f"X has discrete columns (first: column {min(discrete)}), whose labels would be sent without noise; encode "
            "them by a list that is public, or leave them out."
        )


def check_complete(present: Present | None) -> None:
    """Raise ValueError where rows lack modalities: how many do would be sent without noise."""
    if present is not None and not present.all():
        raise ValueError(
            f"{int((~present.all(1)).sum())} rows lack a modality, and with privacy it cannot be sent how many have "
            "each; fill them in, or leave the rows out."
        )


def check_bounds(dp_bounds: Any, kinds: Mapping[str, str | None], n_features: int, n_outputs: int) -> None:
    """Raise ValueError where something is to be standardised without public bounds."""
    if any(kind is not None for kind in kinds.values()):
        bounds_of(dp_bounds, "X", n_features)
    bounds_of(dp_bounds, "y", n_outputs)


def bounds_of(dp_bounds: Any, name: str, n_columns: int) -> Bounds:
    """Return the public bounds of X or y, from the parameter `dp_bounds`."""
    if not isinstance(dp_bounds, Mapping) or name not in dp_bounds:
        raise ValueError(
            f"standardising {name} with privacy needs public bounds, but dp_bounds is {dp_bounds!r}; pass "
            'dp_bounds={"X": (low, high), "y": (low, high)}, known without looking at the data'
            + (", or preprocessing=None." if name == "X" else ".")
        )
    try:
        low, high = (np.broadcast_to(np.asarray(b, dtype=np.float64), (n_columns,)).copy() for b in dp_bounds[name])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"dp_bounds[{name!r}] is {dp_bounds[name]!r}; pass (low, high), each a number or one for each of the "
            f"{n_columns} columns."
        ) from error
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(f"dp_bounds[{name!r}] is {dp_bounds[name]!r}; pass finite numbers, each low below its high.")
    return Bounds(low, high)
