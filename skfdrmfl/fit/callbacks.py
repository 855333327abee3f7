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


__all__ = ["OF_CALLBACKS", "CallbackSupportMixin", "CallbackTask", "with_callbacks"]

# What scikit-learn keeps on an estimator: the callbacks, for good, and while it is fitted where in which fit it stands.
OF_CALLBACKS = frozenset({"_skl_callbacks", "_parent_callback_ctx", "_callback_fit_ctx", "_skl_callbacks_to_teardown"})


class CallbackTask:
    """A task of a fit, on X and y; without a context one that nobody is told of."""

    def __init__(self, estimator: Any, context: Any = None, X: Any = None, y: Any = None):
        self._told, self._context = {"estimator": estimator, "X": X, "y": y}, context
        if context is not None:
            context.call_on_fit_task_begin(**self._told)

    @classmethod
    def of_fit(cls, estimator: Any, X: Any, y: Any, max_subtasks: int | None, name: str = "fit") -> CallbackTask:
        """Begin the task that is all of a fit, within that of a meta-estimator if there is one."""
        context = None
        if hasattr(estimator, "_init_callback_context"):
            context = estimator._init_callback_context(task_name=name, max_subtasks=max_subtasks)
        return cls(estimator, context if getattr(estimator, "_skl_callbacks", None) else None, X, y)

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return self._context is not None

    def sub(self, name: str) -> CallbackTask:
        """Begin a task that is part of this one, after those before."""
        if self._context is None:
            return self
        return CallbackTask(context=self._context.subcontext(task_name=name, max_subtasks=0), **self._told)

    def end(
        self,
        numbers: Callable[[], dict[str, float]] | None = None,
        fitted: Callable[[], dict[str, Any]] | None = None,
    ) -> bool:
        """Tell that the task is done; return whether a callback asks to stop.

        `numbers` makes `context.numbers` of callbacks; not `metadata`, which scikit-learn's hand on to scorers.
        `fitted` makes the attributes of an estimator fitted so far, if any callback wants one.
        """
        if self._context is None:
            return False
        self._context.numbers = None if numbers is None else numbers()
        return bool(self._context.call_on_fit_task_end(**self._told, reconstruction_attributes=fitted))
