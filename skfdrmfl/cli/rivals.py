"""Further methods of a comparison from `--rivals sklearn.svm:SVR`: paths become estimators."""

from __future__ import annotations

import ast
import shlex
from functools import partial
from pkgutil import resolve_name
from typing import Any

from skfdrmfl.common.wording import meant
from skfdrmfl.tables.errors import first_line, wrong

FORM = "write it as module:Class, such as sklearn.svm:SVR, or with parameters as 'sklearn.svm:SVR(C=10)'"
_wrong = partial(wrong, "--rivals")


def rivals_of(texts: list[str], random_state: int) -> dict[str, Any]:
    """Return the estimators that texts such as `svr=sklearn.svm:SVR(C=10)` describe, by name or else by class."""
    rivals: dict[str, Any] = {}
    for text in texts:
        head, bracket, inside = text.partition("(")
        name, _, path = head.rpartition("=")
        found = _imported(path.strip(), text)
        given = _parameters(f"({inside}" if bracket else "()", text)
        name = name.strip() or path.strip().replace(":", ".").rpartition(".")[2]
        if isinstance(found, type):
            found = _made(found, given, random_state, text)
        elif given:
            _wrong(text, "has parameters, but is made already", "leave them out")
        if isinstance(found, type) or not hasattr(found, "fit") or not hasattr(found, "get_params"):
            _wrong(text, "is no estimator", FORM)
        if name in rivals:
            _wrong(text, f"is the second rival called {name}", f"name it: --rivals {shlex.quote(f'other={text}')}")
        rivals[name] = found
    return rivals


def _imported(path: str, text: str) -> Any:
    """Return what a path leads to; the last dot may stand for the colon."""
    if not all(path.rpartition(":" if ":" in path else ".")):
        _wrong(text, "names no class in a module", FORM)
    try:
        return resolve_name(path)
    except AttributeError as error:
        _wrong(text, f"cannot be imported ({first_line(error)})", meant(str(error.name), dir(error.obj), FORM))
    except Exception as error:  # importing runs the module, which may fail in any way
        _wrong(text, f"cannot be imported ({first_line(error)})", "correct or install the module")


def _parameters(call: str, text: str) -> dict[str, Any]:
    """Return the parameters of a call such as `(C=10, kernel="linear")`, whose values are literals."""
    try:
        tree = ast.parse(f"f{call}", mode="eval").body
        if isinstance(tree, ast.Call) and not tree.args and all(keyword.arg for keyword in tree.keywords):
            return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in tree.keywords}
    except (SyntaxError, ValueError):
        pass
    _wrong(text, "has parameters that are not name=value, with numbers or quoted texts", FORM)


def _made(class_: type, given: dict[str, Any], random_state: int, text: str) -> Any:
    """Return an object of a class."""
    try:
        made: Any = class_(**given)
    except (TypeError, ValueError) as error:
        _wrong(text, f"is refused ({first_line(error)})", "pass parameters that its class takes")
    if hasattr(made, "get_params") and "random_state" in made.get_params(deep=False) and "random_state" not in given:
        made.set_params(random_state=random_state)
    return made
