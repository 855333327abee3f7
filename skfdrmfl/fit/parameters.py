"""What parameters mean to what lies below: settings, schedule, device; and which values they may have."""

from __future__ import annotations

from dataclasses import fields
from math import inf
from numbers import Integral, Real
from os import PathLike
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from skfdrmfl.common.late_torch import torch
from skfdrmfl.method.fusion import FUSIONS
from skfdrmfl.method.objective import ALIGNMENTS, term_settings, weight_of_each_term
from skfdrmfl.protocol.plan import Schedule, Settings, cosine_decay
from skfdrmfl.server.aggregation import AGGREGATIONS, PREAGGREGATIONS
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.algorithms.base import INPUT_L1, ROBUST_RULES
from skfdrmfl.views import VIEWS

AT_LEAST_ONE = [Interval(Integral, 1, None, closed="left")]
NOT_NEGATIVE = [Interval(Real, 0, None, closed="left")]
POSITIVE = [Interval(Real, 0, None, closed="neither")]

# Of parameters that are "auto", what a network alone has; the mixture says itself what each of its networks has.
AUTO = "auto"
ALONE: dict[str, Any] = {
    "hidden_layer_sizes": (32,),
    "weight_decay": 0.3,
    "shrinkage": 2e-4,
    "algorithm": "fedavg",
}

CONSTRAINTS: dict[str, Any] = {
    "n_components": AT_LEAST_ONE,
    "hidden_layer_sizes": "no_validation",
    "head_hidden_layer_sizes": "no_validation",
    "modality_dim": AT_LEAST_ONE,
    "fusion": [StrOptions(set(FUSIONS))],
    **dict.fromkeys(weight_of_each_term().values(), NOT_NEGATIVE),
    "alignment": [StrOptions(set(ALIGNMENTS))],
    "temperature": POSITIVE,
    "history_size": [Interval(Integral, 0, None, closed="left")],
    "n_rounds": AT_LEAST_ONE,
    "local_epochs": AT_LEAST_ONE,
    "batch_size": AT_LEAST_ONE,
    "learning_rate": POSITIVE,
    "weight_decay": [*NOT_NEGATIVE, StrOptions({AUTO})],
    "input_l1": NOT_NEGATIVE,
    "modality_dropout": [Interval(Real, 0, 1, closed="left")],
    "preprocessing": [StrOptions({"whiten", "standardize"}), None],
    "pretreatment": [StrOptions({"auto", *VIEWS}), list, tuple, None],
    "shrinkage": [Interval(Real, 0, None, closed="left"), StrOptions({AUTO})],
    "algorithm": [StrOptions({AUTO, *ALGORITHMS})],
    "aggregation": [StrOptions(set(AGGREGATIONS))],
    "proximal_weight": NOT_NEGATIVE,
    "server_learning_rate": [Interval(Real, 0, None, closed="neither"), None],
    "server_momentum": [Interval(Real, 0, 1, closed="left")],
    "preaggregation": [StrOptions(set(PREAGGREGATIONS)), None],
    "n_byzantine": [Interval(Integral, 0, None, closed="left")],
    "participation": [Interval(Real, 0, 1, closed="right")],
    "availability": [callable, "array-like", None],
    "min_clients": AT_LEAST_ONE,
    "dp_noise_multiplier": NOT_NEGATIVE,
    "dp_clip_norm": [Interval(Real, 0, None, closed="right")],
    "dp_target_quantile": [Interval(Real, 0, 1, closed="neither"), None],
    "dp_bounds": [dict, None],
    "dp_delta": [Interval(Real, 0, 1, closed="neither"), None],
    "engine": [StrOptions({"auto", "native", "torch"})],
    "n_jobs": [Integral, None],
    "device": [str],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "checkpoint_path": [str, PathLike, None],
    "checkpoint_every": AT_LEAST_ONE,
    "tuning": [StrOptions({"mixture"}), None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": AT_LEAST_ONE,
    "client_column": [str, Integral, None],
    "groups_column": [str, Integral, None],
    "suspects": [StrOptions({AUTO, "warn", "drop", "ignore"})],
}

# What a site's estimator and the server's may have set otherwise, and why; all else is compared before anything leaves.
FREE: dict[str, str] = {
    "random_state": "a site draws by the seed of the plan alone",
    "availability": "says whom the server invites: a site that wants to stay out does not answer",
    "n_jobs": "threads are each end's own, with the same bits at any number",
    "device": "each end's own: the site's says where the site computes",
    "verbose": "each end's own",
    "suspects": "a site's own: which of its rows look corrupt, and whether those train",
    "warm_start": "where the server begins; what it goes on from has passed the same comparison",
    "checkpoint_path": "a file of the server's",
    "checkpoint_every": "a file of the server's",
}


def compared_parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters that must be alike at a site and at the server, by name."""
    return {name: value for name, value in estimator.get_params(deep=False).items() if name not in FREE}


def is_auto(value: Any) -> bool:
    """Return whether a parameter is left to the fit."""
    return isinstance(value, str) and value == AUTO


def use_of_suspects(estimator: Any) -> str:
    """Return what becomes of rows that look corrupt: "warn", "drop" or "ignore", where no rows are looked at."""
    if is_auto(estimator.suspects):  # a look costs as much as some rounds of one network
        return "ignore" if estimator.tuning is None else "warn"
    return str(estimator.suspects)


def value_of(estimator: Any, name: str) -> Any:
    """Return a parameter, or what "auto" means of it."""
    value = getattr(estimator, name)
    return ALONE.get(name, value) if isinstance(value, str) and value == AUTO else value


# Settings that some algorithms alone read; with others they keep what changes nothing.
OF_ALGORITHMS: frozenset[str] = frozenset().union(*(algorithm.uses for algorithm in ALGORITHMS.values()))


def settings_of(estimator: Any, n_modalities: int, algorithm_name: str | None = None) -> Settings:
    """Return the settings of a run by the parameters of the same names; of another algorithm, if one is named."""
    algorithm = ALGORITHMS[algorithm_name or value_of(estimator, "algorithm")]
    names = [f.name for f in fields(Settings) if f.name != "terms" and f.name not in OF_ALGORITHMS]
    values = {name: float(value_of(estimator, name)) for name in names}
    for name in algorithm.uses:
        value = getattr(estimator, name)
        values[name] = float(getattr(algorithm, name) if value is None else value)
    if n_modalities < 2:
        values["modality_dropout"] = 0.0  # the only modality always stays
    return Settings(**values, terms={name: float(getattr(estimator, name)) for name in term_settings()})


def schedule_of(estimator: Any, algorithm: str | None = None, *, whole: bool = True, times: int = 1) -> Schedule:
    """Return the schedule of all of `fit`, or of one round, which nothing ends early; `times` as many rounds."""
    n_rounds = times * int(estimator.n_rounds)
    return Schedule(
        tuple([cosine_decay(t, n_rounds) for t in range(n_rounds)]) if whole else (1.0,),
        int(estimator.local_epochs),
        int(estimator.batch_size),
        float(estimator.participation),
        int(estimator.history_size),
        int(estimator.n_iter_no_change) if whole and estimator.early_stopping else None,
        algorithm or value_of(estimator, "algorithm"),
        estimator.aggregation,
        int(estimator.min_clients),
        estimator.preaggregation,
        int(estimator.n_byzantine),
    )


def is_private(estimator: Any) -> bool:
    """Return whether updates are clipped or get noise."""
    return estimator.dp_noise_multiplier > 0 or estimator.dp_clip_norm < inf


def check_pretreatment(pretreatment: Any, tuning: Any) -> None:
    """Raise ValueError where `pretreatment` names no view, one twice, or several of which nothing chooses."""
    names = [pretreatment] if isinstance(pretreatment, str) else list(pretreatment or ())
    known = ", ".join(map(repr, VIEWS))
    if pretreatment is not None and not names:
        raise ValueError(f"pretreatment is {pretreatment!r}, which is empty; name some of {known}, or pass None.")
    for name in names if pretreatment != "auto" else ():
        if not isinstance(name, str) or name not in VIEWS:
            raise ValueError(f"pretreatment names {name!r}, which is none; the pre-treatments are {known}.")
        if names.count(name) > 1:
            raise ValueError(f"pretreatment names {name!r} twice; name each once.")
    if not isinstance(pretreatment, (str, type(None))) and tuning != "mixture":
        raise ValueError(
            f"pretreatment={pretreatment!r} is a list to choose from, but tuning={tuning!r} chooses none of it; set "
            'tuning="mixture", or name one.'
        )


def check_algorithm(estimator: Any, schedule: Schedule) -> None:
    """Raise ValueError where the algorithm would pass over another parameter in silence, or is not protected by it."""
    algorithm = value_of(estimator, "algorithm")
    refuses = ALGORITHMS[algorithm].refuses
    if estimator.input_l1 and INPUT_L1 in refuses:
        raise ValueError(
            f"input_l1 is {estimator.input_l1}, but algorithm={algorithm!r} {refuses[INPUT_L1]}; set "
            "input_l1=0.0, or choose another algorithm."
        )
    if schedule.is_robust and ROBUST_RULES in refuses:
        raise ValueError(
            f"algorithm={algorithm!r} {refuses[ROBUST_RULES]}; use algorithm='fedsgd' for clients unlike "
            "each other, or aggregation='mean' and preaggregation=None."
        )


def check_byzantine(n_byzantine: int, n_clients: int, participation: float) -> None:
    """Raise ValueError where as many clients of a round are taken for dishonest as there are others."""
    n_invited = n_clients if participation >= 1.0 else max(1, round(participation * n_clients))
    if n_byzantine and 2 * n_byzantine >= n_invited:
        share = "" if n_invited == n_clients else f" ({participation} of {n_clients})"
        raise ValueError(
            f"n_byzantine is {n_byzantine}, but {n_invited} clients{share} take part in a round, and no rule can tell "
            f"the honest where they are not the majority; set it to {max(0, (n_invited - 1) // 2)} at most."
        )


def device_of(device: str) -> str:
    """Return the device to train on; "auto" is CUDA where there is one."""
    if device == "cpu":
        return device
    has_cuda = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_cuda else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f'device is {device!r}, which torch does not know; use "cpu", "cuda" or "auto".') from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f'device is {device!r}, which is not supported; use "cpu", "cuda" or "auto".')
    if chosen.type == "cuda" and not has_cuda:
        raise ValueError(f'device is {device!r} but torch finds no CUDA device; use "cpu" or "auto".')
    return str(chosen)
