"""What a site's own estimator lets a server do: plans are held to it, whatever the server says of itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from math import inf
from typing import Any

from skfdrmfl.clients.policy import SitePolicy
from skfdrmfl.clients.policy_watch import Protection
from skfdrmfl.clients.remote.packet import Refusal
from skfdrmfl.clients.remote.watch import Answer, Question
from skfdrmfl.common.version import __version__
from skfdrmfl.data.held_out import Split, Subset
from skfdrmfl.encoders._spec import check_layer_sizes
from skfdrmfl.fit.fingerprint import described
from skfdrmfl.fit.mixture import GRADIENT_ROUNDS
from skfdrmfl.fit.parameters import compared_parameters, is_auto, is_private, schedule_of, settings_of, value_of
from skfdrmfl.mixture.networks import SHAPES, SPARSE_BATCH
from skfdrmfl.protocol.plan import Plan
from skfdrmfl.server.algorithms import ALGORITHMS

_log = logging.getLogger("skfdrmfl")
# Types of which `described` is the same as `repr`.
PLAIN = {bool, int, float, str, type(None)}


def agreed_parameters(estimator: Any) -> dict[str, str]:
    """Return what both ends must have set alike, as texts."""
    return {"skfdrmfl": __version__} | {
        name: repr(value) if type(value) in PLAIN else described(value)
        for name, value in compared_parameters(estimator).items()
    }


def check_parameters(estimator: Any, theirs: Mapping[str, str]) -> None:
    """Raise Refusal that names the first parameter that the server has set otherwise."""
    for name, mine in agreed_parameters(estimator).items():
        if (other := theirs.get(name)) != mine:
            said = "not told by" if other is None else f"{other} at"
            raise Refusal(f"{name} is {mine} here but {said} the server; give both the same estimator.")


class Terms:
    """Holds the plans that come to the parameters of the site's estimator. See `remote.watch.Watch`.

    It `warns` of few rows, where no policy says how few there may be.
    """

    def __init__(self, estimator: Any, *, warns: bool = True):
        self._estimator, self._warns = estimator, warns
        self._passed: Plan | None = None  # the last plan that was checked: the next rounds are of the same
        self._protection = None
        if is_private(estimator):
            self._protection = Protection(
                "dp_{} of the site's estimator",
                float(estimator.dp_noise_multiplier),
                inf if estimator.dp_target_quantile is not None else float(estimator.dp_clip_norm),
                estimator.dp_bounds,
            )

    def before(self, question: Question) -> None:
        """Raise Refusal where something is asked that the parameters do not say."""
        if self._protection is not None:
            self._protection.check(question)
        if question.plan is not None and question.plan is not self._passed:
            self._check_plan(question.plan)
            self._passed = question.plan
        if question.plan is not None and question.what == "train":
            _check_round(question.plan, question.content)

    def after(self, question: Question, answer: Answer) -> None:
        """Let every answer pass; say where it is of few rows."""
        n_rows = answer.value["n_rows"] if question.what == "describe" and not answer.refused else None
        if self._warns and n_rows is not None and n_rows < SitePolicy.fewest_rows:
            _log.warning("this site has %d rows, which its sums give away; give it a SitePolicy", n_rows)

    def _check_plan(self, plan: Plan) -> None:
        estimator, planned = self._estimator, plan.schedule
        mixed = estimator.tuning is not None
        free = is_auto(estimator.algorithm) and mixed
        mine = schedule_of(estimator, planned.algorithm if free and planned.algorithm == "fedsgd" else None)
        one_round = len(planned.rate_factors) == 1
        allowed: dict[str, tuple[Any, ...]] = {
            **{f.name: (getattr(mine, f.name),) for f in fields(mine) if f.name not in ("rate_factors", "privacy")},
            "participation": (mine.participation, 1.0) if mixed and one_round else (mine.participation,),
            "patience": (mine.patience, None) if mixed else (mine.patience,),
            "batch_size": (mine.batch_size, SPARSE_BATCH) if mixed else (mine.batch_size,),
        }
        for name, values in allowed.items():
            if (value := getattr(planned, name)) not in values:
                raise _differs("n_iter_no_change" if name == "patience" else name, values[0], value)
        most = int(estimator.n_rounds) * (GRADIENT_ROUNDS if mixed and planned.algorithm == "fedsgd" else 1)
        if len(planned.rate_factors) > most:
            raise _differs("n_rounds", most, len(planned.rate_factors))
        for name, value in plan.network.shape.items():
            asked = value_of(estimator, name)
            asked = check_layer_sizes(asked, name) if name.endswith("sizes") else asked
            if value != asked and not (mixed and (name, value) in SHAPES):
                raise _differs(name, asked, value)
        if len(plan.runs) > 1 and not mixed:
            raise _differs("tuning", None, f"{len(plan.runs)} networks")
        settings = settings_of(estimator, len(plan.network.encoders), planned.algorithm).by_name()
        by_rule = {"weight_decay", "input_l1"} if mixed else set()  # of networks of a mixture
        for run in plan.runs:
            for name, value in run.settings.by_name().items():
                if name not in by_rule and value != settings.get(name):
                    raise _differs(name, settings.get(name), value)
            for subset in (run.subset, run.held_out):
                self._check_split(subset)
            if run.held_out is not None and not estimator.early_stopping:
                raise _differs("early_stopping", False, True)
        if planned.privacy is None and is_private(estimator):
            raise _differs("dp_clip_norm", float(estimator.dp_clip_norm), "inf")
        if planned.privacy is not None and planned.privacy.sampling_rate > mine.participation:
            raise _differs("participation", mine.participation, planned.privacy.sampling_rate)

    def _check_split(self, subset: Subset | None) -> None:
        """Raise Refusal where rows are held out in another share."""
        split = getattr(subset, "of", subset)
        if isinstance(split, Split) and split.fraction != float(self._estimator.validation_fraction):
            raise _differs("validation_fraction", float(self._estimator.validation_fraction), split.fraction)


def _check_round(plan: Plan, about: Mapping[str, Any]) -> None:
    """Raise Refusal where a round has another learning rate than the plan, or moves gradients without its algorithm."""
    if about["rate"] not in plan.schedule.rate_factors or not 0 <= about["rate"] <= 1:
        raise Refusal(f"a round has {about['rate']} times the learning_rate, and no round of the plan does.")
    step = ALGORITHMS[plan.schedule.algorithm].server_step
    if about["shift"] is not None and not (step is not None and step.controls):
        raise Refusal(f"a round moves gradients, which algorithm={plan.schedule.algorithm!r} does not.")


def _differs(name: str, mine: Any, planned: Any) -> Refusal:
    """Return the refusal of a plan that has something else than the estimator."""
    return Refusal(f"{name} is {mine!r} here but {planned!r} in the server's plan; give both the same estimator.")
