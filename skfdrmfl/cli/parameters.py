"""Parameters of FDRMFLTransformer from options: texts become the values that the defaults show."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

from skfdrmfl.cli.screen import interrupt_waits
from skfdrmfl.common.wording import meant
from skfdrmfl.tables.errors import FileProblem, as_problem, wrong

WORDS = {"none": None, "true": True, "false": False, "inf": float("inf")}
BY_OPTION = {"n_components": "--components", "tuning": "--tuning", "modalities": "--modalities"}


def transformer(args: Any, **fixed: Any) -> Any:
    """Return the unfitted transformer that the options of `add_model` describe; refuse what it does not take."""
    from skfdrmfl.estimator._transformer import FDRMFLTransformer
    from skfdrmfl.fit.parameters import ALONE

    tuning = WORDS.get(args.tuning, args.tuning)
    values: dict[str, Any] = {"n_components": args.components, "tuning": tuning, "modalities": args.modalities}
    values["n_jobs"] = -1  # threads move no bit
    known = inspect.signature(FDRMFLTransformer).parameters
    for text in args.set:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            wrong("--set", text, "has no value", "write it as name=value, such as n_rounds=100")
        if name not in known:
            remedy = meant(name, known, "help(skfdrmfl.FDRMFLTransformer) lists them")
            wrong("--set", name, "is no parameter of FDRMFLTransformer", remedy)
        if name in BY_OPTION or name in fixed:
            option = BY_OPTION.get(name, f"--{name.replace('_', '-')}")
            wrong("--set", text, "has an option of its own", f"pass {option}")
        values[name] = _value(value.strip(), ALONE.get(name, known[name].default))
    estimator = FDRMFLTransformer(**values, **fixed)
    try:
        estimator._validate_params()
    except ValueError as error:
        wrong("--set", ", ".join(args.set), f"is refused ({error})", "pass another value")
    return estimator


def model_of(path: Path) -> Any:
    """Return the fitted model in a file; FileProblem where there is none."""
    with interrupt_waits():
        from skfdrmfl.estimator._transformer import FDRMFLTransformer
    if not path.exists():
        raise FileProblem(f"{path} is not there; name the file of a fitted model.")
    with as_problem():
        return FDRMFLTransformer.load(path)


def _value(text: str, default: Any) -> Any:
    """Return the value that a text stands for, of the kind of the default, or of what "auto" is of one network."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    if isinstance(default, tuple) and not isinstance(value, tuple):
        return (value,)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
