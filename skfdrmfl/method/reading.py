"""How another instrument reads: along its axis, in gain and in offset, found from rows alone, without their y.

Glossary: x (p,) a row of the new instrument, s channels by which its axis is shifted, g gain, o offset; the row as the
instruments of the fit would have read it is g x(j - s) + o at channel j. Where that lies beyond the ends of x, it is
what the other channels let expect of it: z_m = V_m (V_o'V_o + sigma^2 / lambda)^-1 V_o' z_o, for axes V with variances
lambda, of which channels have the noise sigma^2.

Rows are likely under these axes: per row -2 log L = Q / sigma^2 by channel + T2 by axis - 2 log g. That is of second
degree in (g, o) but for the logarithm, so that for each s both have a closed form, and sums over rows without one of
them are differences: leaving rows out costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices, row_products, slabs
from skfdrmfl.common.tree import registered
from skfdrmfl.method.domain import BlockDomain
from skfdrmfl.views.base import is_smooth

# Shifts that are tried: up to so many channels or such a share of them, in such steps.
MOST_CHANNELS, MOST_SHARE, STEP = 10, 0.1, 0.25
# How much gains of instruments differ, a standard deviation.
GAIN_SPREAD = 0.2


@registered
@dataclass(frozen=True, eq=False)
class Reading:
    """Rows (n, p) of a new instrument to rows as those of the fit would have read them."""

    shift: float  # s, in channels
    gain: float
    offset: float
    fill: Float  # (p_o, p_m), of channels beyond the ends from the others
    fill_at_zero: Float  # (p_m,)

    def apply(self, rows: Float) -> Float:
        """Return rows (n, p) as read."""
        reached = reached_by(self.shift, rows.shape[1])
        out = self.gain * shifted(rows, self.shift) + self.offset
        out[:, ~reached] = row_products(out[:, reached], self.fill) + self.fill_at_zero
        return out

    def slopes(self, gradients: Float) -> Float:
        """Return derivatives (n, q, p) by the columns of rows, given those by what `apply` returns."""
        p = gradients.shape[-1]
        return gradients @ (self.apply(np.eye(p)) - self.apply(np.zeros((1, p)))).T


def read_table(table: NDArray, columns: Mapping[str, Indices], read: Mapping[str, Reading]) -> NDArray:
    """Return a table (n, n_features) as the instruments of the fit would have read it."""
    if not read:
        return table
    out = table.astype(np.float64)
    for name, reading in read.items():
        for rows in slabs(len(out)):
            slab = rows, columns[name]
            out[slab] = reading.apply(out[slab])
    return out


def shifted(rows: Float, shift: float) -> Float:
    """Return x(j - shift) at channels j (n, p), by the cubic through the four channels around; ends are held."""
    p = rows.shape[1]
    first, t = _place(shift)
    weights = {
        -1: -t * (t - 1) * (t - 2) / 6,
        0: (t + 1) * (t - 1) * (t - 2) / 2,
        1: -(t + 1) * t * (t - 2) / 2,
        2: (t + 1) * t * (t - 1) / 6,
    }
    out = np.zeros(rows.shape)
    for step, weight in weights.items():
        if weight:
            out += weight * rows[:, np.clip(np.arange(p) + first + step, 0, p - 1)]
    return out


def reached_by(shift: float, p: int) -> NDArray[np.bool_]:
    """Return the mask (p,) of the channels of which `shifted` has all that it takes."""
    first, t = _place(shift)
    before, after = (1, 2) if t else (0, 0)
    at = np.arange(p) + first
    return (at >= before) & (at + after < p)


def has_spectra(block: BlockDomain) -> bool:
    """Return whether a modality's columns are a smooth series with known axes, read as they are."""
    if block.view is not None or not len(block.variances):
        return False
    common = (block.axes[:-1] * block.axes[1:]) @ block.variances
    power = block.axes**2 @ block.variances + block.rest / len(block.mean)
    return is_smooth(power, np.maximum(common, 0.0))


def readings(block: BlockDomain, rows: Float, kept: NDArray[np.bool_]) -> list[Reading]:
    """Return the likeliest reading by each set of rows: `rows` (n, p) and masks `kept` (sets, n) of them."""
    farthest = min(MOST_CHANNELS, int(MOST_SHARE * rows.shape[1]))
    shifts = np.arange(-farthest, farthest + STEP / 2, STEP)
    costs = np.array([_likeliest(block, rows, shift, kept)[0] for shift in shifts.tolist()])  # (shifts, sets)
    found = []
    for mine, of_set in zip(kept, costs.T, strict=True):
        i = int(of_set.argmin())
        shift = float(shifts[i])
        if 0 < i < len(shifts) - 1:  # the vertex of the parabola through three
            before, here, after = of_set[i - 1 : i + 2]
            curved = before - 2 * here + after
            shift += float(STEP * (before - after) / (2 * curved)) if curved > 0 else 0.0
        _, gain, offset = _likeliest(block, rows, shift, mine[None])
        found.append(_reading(block, shift, float(gain[0]), float(offset[0])))
    return found


def _likeliest(block: BlockDomain, rows: Float, shift: float, kept: NDArray[np.bool_]) -> tuple[Float, Float, Float]:
    """Return the least cost, gain and offset (sets,) of one shift, by each set of rows (sets, n).

    With u = x(j - s), v = 1 and w, the mean row of the fit, in the metric of -2 log L over the channels that the shift
    reaches, the offset has a closed form given the gain; what is left is a g^2 + b g + c - 2 n log g.
    """
    reached = reached_by(shift, rows.shape[1])
    stack = np.concatenate((shifted(rows, shift), np.ones((1, rows.shape[1])), block.mean[None])) * (
        reached / block.scale
    )
    scores, axes = stack @ _expecting(block, reached).T, block.axes * reached[:, None]
    off = (stack - scores @ axes.T) / np.sqrt(_noise(block) * reached.sum())
    along = scores / np.sqrt(block.variances * len(block.variances))
    coordinates = np.concatenate((off, along), 1)
    u, v, w = coordinates[:-2], coordinates[-2], coordinates[-1]
    vv, vw, ww, prior = float(v @ v), float(v @ w), float(w @ w), 1.0 / GAIN_SPREAD**2
    n, (uu, uv, uw) = kept.sum(1), (kept @ of for of in (np.einsum("np,np->n", u, u), u @ v, u @ w))
    a = uu - uv**2 / (n * vv) + prior
    b = -2.0 * (uw - uv * vw / vv) - 2.0 * prior
    c = n * (ww - vw**2 / vv) + prior
    gain = (np.sqrt(b**2 + 16.0 * a * n) - b) / (4.0 * a)
    return a * gain**2 + b * gain + c - 2.0 * n * np.log(gain), gain, (vw - gain * uv / n) / vv


def _place(shift: float) -> tuple[int, float]:
    """Return the channel at or before -shift, and how far behind that it is, in [0, 1)."""
    first = int(np.floor(-shift))
    return first, -shift - first


def _noise(block: BlockDomain) -> float:
    """Return sigma^2, the variance that the axes leave of a channel."""
    return block.rest / len(block.mean)


def _expecting(block: BlockDomain, reached: NDArray[np.bool_]) -> Float:
    """Return the scores (k, p) that channels which are reached let expect."""
    axes = block.axes * reached[:, None]
    products = axes.T @ axes + np.diag(_noise(block) / block.variances)
    return np.asarray(np.linalg.solve(products, axes.T), dtype=np.float64)


def _reading(block: BlockDomain, shift: float, gain: float, offset: float) -> Reading:
    """Return the reading, with what it takes to fill channels that it does not reach."""
    reached = reached_by(shift, len(block.mean))
    unit = np.where(np.isfinite(block.scale), block.scale, 0.0)
    fill = (_expecting(block, reached)[:, reached] / block.scale[reached]).T @ (
        block.axes[~reached] * unit[~reached, None]
    ).T
    return Reading(shift, gain, offset, fill, block.mean[~reached] - block.mean[reached] @ fill)
