"""Z of a mixture: its predictions first, then directions of the columns that carry nothing of what they leave.

A regression behind Z would take up whatever fits its training rows more closely than the mixture does. So the further
columns of Z are uncorrelated with the predictions, and with what they leave of y.
"""

from __future__ import annotations

import numpy as np

from skfdrmfl.common.arrays import Float

# Directions of less variance than this share of the widest are rounding.
SMALLEST_VARIANCE = 1e-10


def score_axes(
    n_components: int, n_scores: int, n: float, sums: Float, products: Float
) -> tuple[Float, Float, Float, Float]:
    """Return what makes Z of v = (scores u, predictions, y) with s + 2 q entries, from sums of v and v v' over n rows.

    Z = y_hat `from_prediction` (q, c) + u `from_scores` (s, c) + intercept (c,); the last is Z's covariance (c, c).
    """
    mean = sums / n
    c = products / n - np.outer(mean, mean)
    q = (len(sums) - n_scores) // 2
    u, f, y = slice(0, n_scores), slice(n_scores, n_scores + q), slice(n_scores + q, None)
    from_prediction, from_scores = np.zeros((q, n_components)), np.zeros((n_scores, n_components))
    if n_components < q:
        from_prediction[:] = np.linalg.eigh(c[f, f])[1][:, ::-1][:, :n_components]
    else:
        from_prediction[:, :q] = np.eye(q)
        # u less their regression on y_hat, and its products with what y_hat leaves
        b = np.linalg.pinv(c[f, f], rcond=1e-10, hermitian=True) @ c[f, u]
        own = c[u, u] - c[u, f] @ b
        left = (c[u, y] - c[u, f]) - b.T @ (c[f, y] - c[f, f])
        v = _widest(own, left, n_components - q)
        spread = np.sqrt(np.maximum(((own @ v) * v).sum(0), 0.0))
        widest = float(np.sqrt(np.diagonal(c[f, f]).clip(0.0).min(initial=1.0))) or 1.0
        v *= widest / spread.max() if spread.max(initial=0.0) > 0 else 0.0
        from_scores[:, q : q + v.shape[1]] = v
        from_prediction[:, q : q + v.shape[1]] -= b @ v
    into_z, v_in_z = np.concatenate((from_scores, from_prediction)), slice(0, n_scores + q)
    intercept = -(mean[f] @ from_prediction + mean[u] @ from_scores)
    return from_prediction, from_scores, intercept, into_z.T @ c[v_in_z, v_in_z] @ into_z


def _widest(own: Float, left: Float, n_wanted: int) -> Float:
    """Return up to so many directions (s, wanted) of most variance, of those whose products with `left` are zero."""
    if not n_wanted:
        return np.zeros((len(own), 0))
    axes, values, _ = np.linalg.svd(left)
    free = axes[:, int((values > 1e-12 * values.max(initial=0.0)).sum()) :]
    variance, directions = np.linalg.eigh(free.T @ own @ free)
    kept = variance > SMALLEST_VARIANCE * max(float(variance.max(initial=0.0)), 1e-300)
    return (free @ directions[:, kept])[:, ::-1][:, :n_wanted]
