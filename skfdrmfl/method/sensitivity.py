"""How a network's predictions respond to its inputs: derivatives, and what another category would change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skfdrmfl.common.arrays import Arrays, Float, Present
from skfdrmfl.common.late_torch import torch
from skfdrmfl.method.evaluate import SLAB_ROWS, dense_jacobian, first_slopes, has_dense_jacobian
from skfdrmfl.method.network import Network


def jacobians(network: Network, arrays: Arrays, x: Float, present: Present | None = None) -> Iterator[Float]:
    """Yield the derivatives (rows, q, columns) of standardised y_hat by encoder inputs, a slab of rows at a time.

    Derivatives by codes of categories are 0, as are those by inputs of modalities that a row lacks.
    """
    of_slab = dense_jacobian if has_dense_jacobian(network) else _by_autograd
    for i in range(0, len(x), SLAB_ROWS):
        slab = slice(i, i + SLAB_ROWS)
        yield of_slab(
            network, arrays, x[slab].astype(np.float64, copy=False), None if present is None else present[slab]
        )


def factored_slopes(
    network: Network, arrays: Arrays, x: Float, present: Present | None
) -> list[tuple[Float, Float | None]]:
    """Return the derivatives (B, q, columns) of some rows by each modality's inputs, as two factors where there are.

    The first (B, q, u) is by what a first layer gives, the second (u, columns) its weights, or None.
    """
    if has_dense_jacobian(network):
        return list(first_slopes(network, arrays, x, present))
    gradients = _by_autograd(network, arrays, x, present)
    return [(gradients[..., columns], None) for columns in network.columns.values()]


def _by_autograd(network: Network, arrays: Arrays, x: Float, present: Present | None) -> Float:
    """Return the derivatives of some rows by those of the network's own forward pass."""
    flat = torch.from_numpy(network.layout.pack(arrays, dtype=np.float64))
    views = network.layout.views(flat[None])
    mask = None if present is None else torch.as_tensor(present)[None]
    with torch.enable_grad():
        rows = torch.tensor(x)[None].requires_grad_()
        y_hat = network.forward(views, rows, mask).y_hat[0]
        # Rows do not mix: the derivative of the sum over rows is each row's own.
        found = [
            torch.autograd.grad(total, rows, retain_graph=True, allow_unused=True)[0] if total.requires_grad else None
            for total in y_hat.sum(0).unbind()
        ]
    zeros = torch.zeros_like(rows)
    return torch.stack([zeros[0] if of_output is None else of_output[0] for of_output in found], 1).detach().numpy()


def swaps(
    network: Network, arrays: Arrays, x: Float, column: int, n_codes: int, present: Present | None = None
) -> Float:
    """Return the squared change (n, n_codes) of standardised y_hat, mean over outputs, for each code in a column of x.

    Parameters are those of `jacobians`; `column` is an encoder input that holds codes 0 .. `n_codes` - 1.
    """
    flat = torch.from_numpy(network.layout.pack(arrays, dtype=np.float64))
    views = network.layout.views(flat[None])
    out = np.empty((len(x), n_codes))
    for i in range(0, len(x), SLAB_ROWS):
        slab = slice(i, i + SLAB_ROWS)
        mask = None if present is None else torch.as_tensor(present[slab])[None]
        rows = torch.tensor(x[slab], dtype=torch.float64)[None]
        before = network.forward(views, rows, mask).y_hat[0]
        for code in range(n_codes):
            rows[0, :, column] = code
            change = network.forward(views, rows, mask).y_hat[0] - before
            out[slab, code] = change.square().mean(-1).numpy()
    return out


def is_linear(network: Network) -> bool:
    """Return whether y_hat is a linear function of the encoder inputs, whatever the weights and for complete rows."""
    dense = all(
        getattr(encoder, "hidden", None) == () and not encoder.code_sizes for encoder in network.encoders.values()
    )
    return dense and network.fusion.is_linear and not network.head.hidden
