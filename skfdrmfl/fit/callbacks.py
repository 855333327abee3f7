"""A fit's tasks, as the callbacks of scikit-learn (from 1.9 on) are told of them.

A fit has a task for each round; of a mixture, for each round of all passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method."""
        return method


__all__ = ["OF_CALLBACKS", "CallbackSupportMixin", "CallbackTask", "Rounds", "with_callbacks"]

# What scikit-learn keeps on an estimator: the callbacks, for good, and while it is fitted where in which fit it stands.
OF_CALLBACKS = frozenset({"_skl_callbacks", "_parent_callback_ctx", "_callback_fit_ctx", "_skl_callbacks_to_teardown"})


class CallbackTask:
    """A task of a fit, on X and y; without callbacks, that is without a context, one that nobody is told of."""

    def __init__(self, estimator: Any, context: Any = None, X: Any = None, y: Any = None):
        self._estimator, self._context, self._data = estimator, context, {"X": X, "y": y}

    @classmethod
    def of_fit(cls, estimator: Any, X: Any, y: Any, max_subtasks: int | None, name: str = "fit") -> CallbackTask:
        """Begin the task that is all of a fit, within that of a meta-estimator if there is one."""
        if not hasattr(estimator, "_init_callback_context"):
            return cls(estimator)
        context = estimator._init_callback_context(task_name=name, max_subtasks=max_subtasks)
        return cls(estimator, context, X, y).begin()

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return self._context is not None and bool(getattr(self._estimator, "_skl_callbacks", None))

    def begin(self) -> CallbackTask:
        """Tell that the task begins."""
        if self.is_heard:
            self._context.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return self

    def sub(self, name: str, max_subtasks: int | None = 0) -> CallbackTask:
        """Begin a task that is part of this one, after those before; None for a number of parts not known."""
        if not self.is_heard:
            return CallbackTask(self._estimator)
        context = self._context.subcontext(task_name=name, max_subtasks=max_subtasks)
        return CallbackTask(self._estimator, context, **self._data).begin()

    def end(
        self,
        numbers: Callable[[], dict[str, float]] | None = None,
        fitted: Callable[[], dict[str, Any]] | None = None,
    ) -> bool:
        """Tell that the task is done; return whether a callback asks to stop.

        `numbers` makes `context.numbers` of callbacks; not `metadata`, which scikit-learn's hand on to scorers.
        `fitted` makes the attributes of an estimator fitted so far, if any callback wants one.
        """
        if not self.is_heard:
            return False
        self._context.numbers = None if numbers is None else numbers()
        told = self._context.call_on_fit_task_end(
            estimator=self._estimator, **self._data, reconstruction_attributes=fitted
        )
        return bool(told)


class Rounds:
    """The rounds of a task, `n_rounds` at most, each a task from its beginning to its end.

    With `goes_on` training first says where it stands, which is the end of no round.
    """

    def __init__(self, task: CallbackTask, n_rounds: int, *, goes_on: bool = False):
        self._task = task
        self._round = None if goes_on or not n_rounds else task.sub("round")

    def follow(
        self,
        *,
        is_over: bool,
        numbers: Callable[[], dict[str, float]] | None = None,
        fitted: Callable[[], dict[str, Any]] | None = None,
    ) -> bool:
        """Tell that a round is done, and that the next begins unless training `is_over`; return whether to stop."""
        stops = self._round is not None and self._round.end(numbers, fitted)
        self._round = None if stops or is_over else self._task.sub("round")
        return stops
