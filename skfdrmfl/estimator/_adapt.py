"""A fitted model and few rows of a new instrument to a model for that: ways to change it, tried on rows left out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Present
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.common.wording import counted
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.adaptation import Adaptation, domain_around, head_of, whitened_scores
from skfdrmfl.method.corrections import Correction, corrections, is_less, sizes_of, smallest_enough
from skfdrmfl.method.reading import Reading, has_spectra, read_table, readings
from skfdrmfl.method.seen_rows import are_codes
from skfdrmfl.method.suspects import CODE_DISTANCE
from skfdrmfl.protocol.queries.counts import binned, held_out_counts

# How many rows each way takes, from the smallest change on.
FEWEST = {"bias": 2, "slope": 4, "input": 5, "head": 6}
AUTO = "auto"
# Of the error of the other rows' mean; fewer rows than a head takes say too little to tell less than all of it.
HARDLY_BETTER = 0.8
# Readings are found without each of the rows, or without each of so many parts of them.
MOST_PARTS = 20
# Size of values, of y in its standard deviations, whose squares and fourth powers are numbers.
LARGEST = 1e50


def adapted(fitted: Fitted, table: NDArray, present: Present | None, y: Float, how: str) -> Fitted:
    """Return the model changed by rows (n, n_features) with y (n, q) in its units; see `FDRMFLTransformer.adapt`."""
    if fitted.adaptation is not None:
        raise ValueError(
            "the model has been adapted already, and a second change would hide the first; adapt the model that it "
            "comes from, to all rows of the instrument."
        )
    spectra = _spectra(fitted, present, len(y))
    hows = _ways(fitted, y, how, spectra)
    _warn_of_placeholders(fitted, table, y)
    y = (y - fitted.target.mean) / fitted.target.scale
    if max(np.abs(y).max(), float(np.nanmax(np.abs(table)))) > LARGEST:  # which is no number of float32
        raise ValueError(f"X or y has values beyond {LARGEST:g}, whose squares overflow; look at the units.")
    plain = [name for name in ("none", *hows) if name != "input" and (name != "none" or how == AUTO)]
    found = _corrections(fitted, table, present, y, plain)
    errors, read = _errors_by_how(found), {}
    if "input" in hows and fitted.domain is not None:
        part = np.arange(len(y)) % MOST_PARTS
        sets = _readings(fitted, table, present, spectra, part)
        with_input = [name for name in plain if name != "none"] or ["bias"]
        tried = [
            _corrections(fitted, read_table(table, fitted.domain.columns, each), present, y, with_input)
            for each in sets
        ]
        moved = [
            replace(of_all, errors=np.array([tried[k][c].errors[i] for i, k in enumerate(part.tolist())]))
            for c, of_all in enumerate(tried[-1])
        ]
        errors |= {f"input and {name}": of for name, of in _errors_by_how(moved).items()}
        if not found or _is_less(_least(moved), _least(found)):
            found, read = moved, sets[-1]
    chosen = smallest_enough(found)
    weights = np.stack([each.weights[:, j] for j, each in enumerate(chosen)], 1)
    change = Adaptation(
        columns={name: fitted.network_spec.modalities[name] for name in read},
        readings=read,
        slope=np.array([each.slope[j] for j, each in enumerate(chosen)]),
        offset=np.array([each.offset[j] for j, each in enumerate(chosen)]),
        head=None if fitted.domain is None else head_of(fitted.domain, weights),
        hows=[f"input and {each.how}" if read else each.how for each in chosen],
        n_rows=len(y),
        errors=errors,
    )
    around = None if fitted.domain is None else domain_around(fitted.domain, change.read(table), present, y)
    left_out = _errors_of(chosen)
    if how == AUTO:
        _warn_if_hardly_better_than_the_mean(y, left_out)
    # As those of a client who comes after all of the fit.
    held_out = held_out_counts(binned(len(fitted.clients), left_out), y.shape[1])
    return replace(fitted, adaptation=change, domain=around, held_out=held_out)


def _warn_of_placeholders(fitted: Fitted, table: NDArray, y: Float) -> None:
    """Warn of what is written for no value: y (n, q) far from that of the fit, columns far from the other rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns of a modality that all rows lack
        center = np.nanmedian(table, axis=0)
        spread = np.nanmedian(np.abs(table - center), axis=0)
    for name, values, usual, unit in (("y", y, fitted.target.mean, fitted.target.scale), ("X", table, center, spread)):
        places = np.argwhere(are_codes(values) & (np.abs(values - usual) > CODE_DISTANCE * unit))
        if len(places):
            row, column = places[0]
            warn_caller(
                f"{name} is {values[row, column]:g} in row {row}, far from all else, as is written where nothing was "
                "measured; adapt without such rows."
            )


def _warn_if_hardly_better_than_the_mean(y: Float, errors: Float) -> None:
    """Warn where the model, adapted, errs (n, q) hardly less than the mean of the other rows' y does."""
    n = len(y)
    of_mean = (y - y.mean(0)) * n / (n - 1)
    if not of_mean.any():
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nanmin(np.sqrt((errors**2).sum(0) / (of_mean**2).sum(0)))
    if share >= (HARDLY_BETTER if n >= FEWEST["head"] else 1.0):
        warn_caller(
            f"adapted to {counted(n, 'row')} the model errs {share:.2g} times as much on each of these, left out, as "
            "the mean of the others; pass rows as fit was given them, of a Pipeline's last step "
            "pipeline[:-1].transform(X)."
        )


def _ways(fitted: Fitted, y: Float, how: str, spectra: Sequence[str]) -> list[str]:
    """Return what is to be tried; ValueError where nothing can be."""
    n = len(y)
    if how not in (AUTO, *FEWEST):
        raise ValueError(f"how is {how!r}; use one of {', '.join(map(repr, (AUTO, *FEWEST)))}.")
    if n < (least := FEWEST["bias" if how == AUTO else how]):
        listed = ", ".join(f"{name!r} {number}" for name, number in FEWEST.items())
        raise ValueError(f"X has {counted(n, 'row')}, and how={how!r} takes {least} ({listed}); pass more rows.")
    why = {}
    if fitted.domain is None:
        why = dict.fromkeys(("input", "head"), "the model knows no domain, as with privacy or of an earlier version")
    elif not spectra:
        why = {
            "input": "no modality is a spectrum that enough rows have: 20 columns or more, neighbours alike, whitened"
        }
    if (np.ptp(y, axis=0) == 0).any():
        why |= dict.fromkeys(("slope", "head"), "y is the same in all rows, or one of its outputs")
    if how in why:
        other = "bias" if "slope" in why else "slope"
        raise ValueError(f'how={how!r} cannot be: {why[how]}; use how="{other}".')
    return [how] if how != AUTO else [name for name, least in FEWEST.items() if n >= least and name not in why]


def _spectra(fitted: Fitted, present: Present | None, n: int) -> list[str]:
    """Return the modalities whose axis can be moved: spectra, of which there are enough rows."""
    if fitted.domain is None:
        return []
    names = list(fitted.domain.blocks)
    n_rows = np.full(len(names), n) if present is None else present.sum(0)
    enough = {name for name, rows in zip(names, n_rows.tolist(), strict=True) if rows >= FEWEST["input"]}
    whole = {
        name for name, mine in fitted.network_spec.modalities.items() if len(mine) == len(fitted.domain.columns[name])
    }
    return [name for name, block in fitted.domain.blocks.items() if name in enough & whole and has_spectra(block)]


def _readings(
    fitted: Fitted, table: NDArray, present: Present | None, spectra: Sequence[str], part: NDArray[np.int64]
) -> list[dict[str, Reading]]:
    """Return the readings by modality: without each part of the rows, and by all."""
    assert fitted.domain is not None
    kept = np.arange(part.max() + 2)[:, None] != part  # the last set is without nothing
    found: list[dict[str, Reading]] = [{} for _ in kept]
    for m, name in enumerate(fitted.domain.blocks):
        if name in spectra:
            mine = np.ones(len(table), dtype=bool) if present is None else present[:, m]
            rows = np.take(table[mine], fitted.domain.columns[name], axis=1).astype(np.float64, copy=False)
            for of_set, reading in zip(found, readings(fitted.domain.blocks[name], rows, kept[:, mine]), strict=True):
                of_set[name] = reading
    return found


def _corrections(
    fitted: Fitted, table: NDArray, present: Present | None, y: Float, hows: Sequence[str]
) -> list[Correction]:
    """Return the corrections of the fitted model's predictions of rows."""
    y_hat = fitted.predictor.evaluate(table, present)[1]
    scores = np.zeros((len(y), 0))
    if "head" in hows and fitted.domain is not None:
        scores = whitened_scores(fitted.domain).apply(table, np.dtype(np.float64), present=present)
    return corrections(y, y_hat, scores, hows)


def _errors_of(chosen: Sequence[Correction]) -> Float:
    """Return the errors (n, q) of what was chosen for each output."""
    return np.stack([each.errors[:, j] for j, each in enumerate(chosen)], 1)


def _least(found: Sequence[Correction]) -> Float:
    """Return the errors (n, q) of the corrections that err least, without heads, which could stand for a moved axis."""
    smaller = [each for each in found if each.how != "head"]
    least = np.array([sizes_of(each.errors).mean(0) for each in smaller]).argmin(0)
    return _errors_of([smaller[i] for i in least.tolist()])


def _errors_by_how(found: Sequence[Correction]) -> dict[str, Float]:
    """Return the root mean squared errors (q,) of each kind, of several the least."""
    errors: dict[str, Float] = {}
    for each in found:
        mine = np.sqrt((each.errors**2).mean(0))
        errors[each.how] = np.minimum(errors.get(each.how, mine), mine)
    return errors


def _is_less(errors: Float, others: Float) -> bool:
    """Return whether errors (n, q) are less than others, each output counting alike."""
    errors, others = sizes_of(errors), sizes_of(others)
    unit = np.minimum(errors.mean(0), others.mean(0))
    return is_less((errors / unit).sum(1), (others / unit).sum(1))
