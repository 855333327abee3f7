"""The three simulations of the FDRMFL paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._base import check_count, data_text, generator_from, pack

Vector = NDArray[np.float64]

_WIDTHS = {"image": 3 * 32 * 32, "text": 10 * 50, "vector": 32}
_ENDS = np.cumsum(list(_WIDTHS.values())).tolist()
_MODALITIES = {name: slice(end - width, end) for (name, width), end in zip(_WIDTHS.items(), _ENDS, strict=True)}
_FUNCTIONS: dict[int, Callable[[Vector, Vector, Vector], Vector]] = {  # of s, s_image, s_text
    1: lambda s, image, text: np.tanh(0.05 * s),
    2: lambda s, image, text: np.logaddexp(0.0, 0.1 * s + 1e-4 * image * text),
    3: lambda s, image, text: 8.0 / np.cosh(0.02 * s),
}


def make_simulation(
    function: int = 1,
    n_samples: int = 2000,
    random_state: Any = None,
    *,
    return_X_y: bool = True,
    as_frame: bool = False,
) -> Any:
    """Draw one of the simulations of the FDRMFL paper (regression, three modalities, no noise).

    All entries of X are independent N(0, 1): an image of 3 x 32 x 32, a text of 10 x 50 and a vector of 32,
    flattened (C order) and laid side by side. With s_image, s_text and s_vector the sums over every 10th
    entry of a block (0, 10, 20, ... within the block) and s their sum,

    ======== =========================================== ========
    function y                                           variance
    ======== =========================================== ========
    1        tanh(0.05 s)                                0.376
    2        log(1 + exp(0.1 s + 1e-4 s_image s_text))   1.075
    3        16 / (exp(0.02 s) + exp(-0.02 s))           0.379
    ======== =========================================== ========

    The variance is the mean squared error of predicting the mean, the floor that a method has to beat; y3 is
    even in s, so linear methods cannot.

    Parameters
    ----------
    function : {1, 2, 3}, default=1
    n_samples : int, default=2000
        The paper trains on 2000 rows and tests on 500: draw 2500 and split.
    random_state : None, int, RandomState or Generator, default=None
        None draws anew each time. NumPy's global state is neither used nor changed.
    return_X_y : bool, default=True
        Return ``(data, target)``, as scikit-learn's other ``make_*`` functions do; False returns a Bunch.
    as_frame : bool, default=False
        Return pandas objects. The columns are called ``image__0``, ..., ``text__0``, ..., ``vector__31``, so that
        ``FDRMFLTransformer(modalities="prefix")`` sees the three modalities.

    Returns
    -------
    (data, target), or a Bunch if not `return_X_y`
        As of :func:`load_tecator`, with `data` (n_samples, 3604), `target` (n_samples,), and without what is said of
        rows, columns and files there.

    Raises
    ------
    ValueError
        If `function` is not 1, 2 or 3, or `n_samples` is not a positive integer.
    ImportError
        If `as_frame` and pandas is not installed.

    Examples
    --------
    >>> from skfdrmfl.datasets import make_simulation
    >>> X, y = make_simulation(1, n_samples=20, random_state=0)
    >>> X.shape, y.shape
    ((20, 3604), (20,))
    """
    if function not in tuple(_FUNCTIONS):
        raise ValueError(f"function is {function!r}; choose 1, 2 or 3.")
    n_samples = check_count(n_samples, "n_samples")
    X = generator_from(random_state).standard_normal((n_samples, _ENDS[-1]))
    image, text, vector = (X[:, block][:, ::10].sum(axis=1) for block in _MODALITIES.values())
    return pack(
        X,
        _FUNCTIONS[function](image + text + vector, image, text),
        [f"y{int(function)}"],
        feature_names=[f"{name}__{j}" for name, width in _WIDTHS.items() for j in range(width)],
        return_X_y=return_X_y,
        as_frame=as_frame,
        modalities=dict(_MODALITIES),
        DESCR=data_text("simulation.rst"),
    )
