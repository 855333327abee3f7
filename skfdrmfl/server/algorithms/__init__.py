"""What the server makes of a round, and what it keeps: an algorithm a file.

Every subclass of `Algorithm` that a module of this folder defines is one, under its name in lower case.
"""

from skfdrmfl.common.modules import modules_of
from skfdrmfl.server.algorithms.base import Algorithm

ALGORITHMS: dict[str, Algorithm] = {
    name.lower(): thing()
    for module in modules_of(__name__, __path__)
    for name, thing in vars(module).items()
    if isinstance(thing, type) and issubclass(thing, Algorithm) and thing is not Algorithm
}

__all__ = ["ALGORITHMS", "Algorithm"]
