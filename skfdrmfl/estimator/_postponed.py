"""A fit inside a search in one pass: put aside for now, to be taken from the search's pool later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Postponed(BaseException):
    """Leaves a pipeline at the fit that has been put in the pool."""


class Pool(Protocol):
    """What an estimator asks before it trains by itself."""

    def fit(self, estimator: Any, X: Any, y: Any, client_ids: Any, groups: Any = None) -> bool:
        """Fit the estimator from the pool, or put the fit in it; False if the estimator must train by itself."""


_active: ContextVar[Pool | None] = ContextVar("skfdrmfl_fit_pool", default=None)


def active_pool() -> Pool | None:
    """Return the pool of the search that the running fit is part of, if any."""
    return _active.get()


@contextmanager
def fits_go_to(pool: Pool) -> Iterator[None]:
    """Let every fit inside ask `pool` first."""
    token = _active.set(pool)
    try:
        yield
    finally:
        _active.reset(token)
