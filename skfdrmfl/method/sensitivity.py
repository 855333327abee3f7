"""How a network's predictions respond to its inputs: derivatives, and what another category would change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skfdrmfl.common.arrays import SLAB_ROWS, Arrays, Float, Present, slabs
from skfdrmfl.common.late_torch import torch
from skfdrmfl.method.evaluate import evaluate, first_slopes, forward_pass, has_first_slopes
from skfdrmfl.method.network import Network


def jacobians(network: Network, arrays: Arrays, x: Float, present: Present | None = None) -> Iterator[Float]:
    """Yield the derivatives (rows, q, columns) of standardised y_hat by encoder inputs, a slab of rows at a time.

    Derivatives by codes of categories are 0, as are those by inputs of modalities that a row lacks.
    """
    for slab in slabs(len(x), SLAB_ROWS):
        rows, of_rows = x[slab].astype(np.float64, copy=False), None if present is None else present[slab]
        factors = factored_slopes(network, arrays, rows, of_rows)
        yield np.concatenate([slopes if first is None else slopes @ first for slopes, first in factors], -1)


def factored_slopes(
    network: Network, arrays: Arrays, x: Float, present: Present | None
) -> list[tuple[Float, Float | None]]:
    """Return the derivatives (B, q, columns) of some rows by each modality's inputs, as two factors where there are.

    The first (B, q, u) is by what a first layer gives, the second (u, columns) its weights, or None.
    """
    if has_first_slopes(network):
        return list(first_slopes(network, arrays, x, present))
    gradients = _by_autograd(network, arrays, x, present)
    return [(gradients[..., columns], None) for columns in network.columns.values()]


def _by_autograd(network: Network, arrays: Arrays, x: Float, present: Present | None) -> Float:
    """Return the derivatives (B, q, columns) of some rows by those of the network's own forward pass."""
    with torch.enable_grad():
        rows = torch.tensor(x).requires_grad_()
        # Rows do not mix: the derivative of the sum over rows is each row's own; 0 where no output depends on them.
        totals = (forward_pass(network, arrays, rows, present)[1].sum(0) + 0.0 * rows.sum()).unbind()
        found = [torch.autograd.grad(total, rows, retain_graph=True)[0] for total in totals]
    return torch.stack(found, 1).detach().numpy()


def swaps(
    network: Network, arrays: Arrays, x: Float, column: int, n_codes: int, present: Present | None = None
) -> Float:
    """Return the squared change (n, n_codes) of standardised y_hat, mean over outputs, for each code in a column of x.

    Parameters are those of `jacobians`; `column` is an encoder input that holds codes 0 .. `n_codes` - 1.
    """
    before, swapped, out = evaluate(network, arrays, x, present)[1], x.astype(np.float64), np.empty((len(x), n_codes))
    for code in range(n_codes):
        swapped[:, column] = code
        out[:, code] = np.square(evaluate(network, arrays, swapped, present)[1] - before).mean(1)
    return out


def is_linear(network: Network) -> bool:
    """Return whether y_hat is a linear function of the encoder inputs, whatever the weights and for complete rows."""
    dense = all(
        getattr(encoder, "hidden", None) == () and not encoder.code_sizes for encoder in network.encoders.values()
    )
    return dense and network.fusion.is_linear and not network.head.hidden
