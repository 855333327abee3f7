"""A fit whose rows are elsewhere: the server's side, over any channel."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.clients.remote.channel import Channel
from skfdrmfl.clients.remote.codec import to_packet
from skfdrmfl.clients.remote.exchange import Exchange
from skfdrmfl.clients.remote.federation import Remote
from skfdrmfl.clients.remote.packet import WireError
from skfdrmfl.common.threads import single_threaded
from skfdrmfl.data.client_ids import check_client_ids, check_same_labels, encode_clients
from skfdrmfl.fit import privacy_parameters as _privacy
from skfdrmfl.fit.callbacks import CallbackTask
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.mixture import MixtureFitting, most_of_sums, why_alone
from skfdrmfl.fit.parameters import is_private
from skfdrmfl.fit.prepare import agreed_categories, build, engine_of, guard_of, ledger_of, make_plan
from skfdrmfl.fit.result import Fitted
from skfdrmfl.fit.run_rounds import train_and_keep
from skfdrmfl.mixture.forecast import questions
from skfdrmfl.site.site_data import digest_of_names, texts_of
from skfdrmfl.site.site_terms import agreed_parameters

# What all clients must say alike, and what that is to a reader.
ALIKE = {
    "discrete": "discrete columns",
    "n_features": "columns",
    "n_outputs": "outputs",
    "y_ndim": "dimensions of y",
    "modalities": "modalities",
    "label_columns": "columns of labels",
}


def check_parameters(estimator: Any, networks: int = 1) -> Any:
    """Raise what `fit_over_channel` would before it asks anybody; return the fit that it goes on from, or None."""
    estimator._validate_params()
    if networks < 1:
        raise ValueError(f"networks is {networks}, but a mixture has one at least; set 1 or more.")
    earlier = vars(estimator).get("_fitted") if estimator.warm_start else None
    _privacy.check_private(estimator, None if earlier is None else earlier.account, earlier is not None)
    return earlier


def fit_over_channel(estimator: Any, channel: Channel, *, networks: int = 1) -> Any:
    """Fit an estimator to rows that are elsewhere, and return it; a mixture has so many networks at most.

    With `warm_start` and fitted before, the fit goes on from there. ValueError: clients who do not fit together, or not
    with what the estimator has learned before; NoAnswer: what nobody else can say; TimeoutError: too few are there.
    """
    earlier = check_parameters(estimator, networks)
    with single_threaded():
        reading, federation = gather(estimator, channel, earlier)
        built = build(estimator, reading, earlier)
        federation.engine = engine_of(estimator, reading, built[1], "cpu")
        federation.guard = guard_of(estimator, reading)
        goes_on = earlier is not None
        if estimator.tuning is not None and why_alone(estimator, federation, whole=True, goes_on=goes_on) is None:
            _show(f"a mixture: before the first round a client sends {_size(most_of_sums(estimator, reading))} at most")
        fitting = make_plan(estimator, reading, federation, *built, earlier=earlier, n_networks=networks)
        if isinstance(fitting, MixtureFitting) and not fitting.checkpoint.goes_on:
            _show(_forecast(fitting, "at most " if estimator.early_stopping else ""))
        train_and_keep(estimator, fitting, CallbackTask(estimator))
    return estimator


def _forecast(fitting: MixtureFitting, at_most: str) -> str:
    """Return in words what the fit takes, and has taken so far."""
    log, so_far = fitting.forecast(), fitting.federation.ledger.log(fitting.fitted.clients.tolist())
    beside = sum(len(part) for asked in questions(fitting.task) for part in to_packet(asked).flat())
    beside += getattr(fitting.federation, "looks_told", 0)
    sent, received = _size(max(log.sent)), _size(max(log.received) + beside)
    done = f"of which {so_far.exchanges} and {_size(max(so_far.sent))} are done"
    return f"{at_most}{log.exchanges} exchanges; a client sends {sent}, {done}, and receives {received}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.2f} MB"


def _show(said: str) -> None:
    print(f"[FDRMFL] {said}", flush=True)


def gather(estimator: Any, channel: Channel, earlier: Fitted | None) -> tuple[DataDescription, Remote]:
    """Return what the clients say of their rows, and the federation of them; `earlier` is the fit to go on from."""
    there = channel.addresses()
    first = Exchange(channel, there, [f"at {address}" for address in there])
    parameters = agreed_parameters(estimator)
    categories = None if earlier is None else earlier.network_spec.categories
    about: dict[str, Any] = {"parameters": parameters, "categories": categories}
    said = first.ask_all("describe", dict.fromkeys(range(len(there)), about), check=_check_described)
    ids = _labels([answer["label"] for answer in said.values()])
    private = is_private(estimator)
    names = _privacy.nameless(ids, len(ids)) if private else ids
    if earlier is not None:
        check_same_labels(names, earlier.clients)
    clients, codes = encode_clients(names, None if earlier is None else earlier.clients)
    order = np.argsort(codes).tolist()
    positions, told = codes[order], [said[i] for i in order]
    labels: list[Any] = [None] * len(clients)
    addresses: list[Any] = [None] * len(clients)  # of clients of earlier fits, who need not be there
    for i, p in zip(order, positions.tolist(), strict=True):
        labels[p], addresses[p] = said[i]["label"], there[i]
    rows = {p: answer["n_rows"] for p, answer in zip(positions.tolist(), told, strict=True)}
    exchange = Exchange(channel, addresses, labels, first.run, rows)
    labels_there = [labels[p] for p in positions.tolist()]
    _check_alike(labels_there, told, ["discrete", "n_features"])
    columns = _agreed_columns(exchange, positions.tolist(), told)
    feature_names, numbers = _names(exchange, positions.tolist(), columns, told[0]["n_features"], earlier)
    sizes = np.array([answer["n_rows"] for answer in told], dtype=np.int64)
    ledger = ledger_of(earlier)
    ledger.runs += (exchange.run,)
    discrete = told[0]["discrete"]
    if private:
        _privacy.check_no_labels(discrete)
        ledger.crowd = len(positions)
    if categories is None:
        categories = {}
        if discrete:
            asked = Remote(exchange, positions, sizes, None, "", "torch", ledger)
            called = {j: f"column {j}" if feature_names is None else repr(feature_names[j]) for j in discrete}
            categories = agreed_categories(asked, called, clients, estimator.availability)
            questions = dict.fromkeys(positions.tolist(), about | {"categories": categories})
            told = list(exchange.ask_all("describe", questions, check=_check_described).values())
    _check_alike(labels_there, told, list(ALIKE))
    by_modality = None
    if any(answer["by_modality"] is not None for answer in told):
        counts, whole = [answer["by_modality"] for answer in told], np.ones(len(told[0]["modalities"]), dtype=np.int64)
        by_modality = np.stack([n * whole if of is None else of for of, n in zip(counts, sizes, strict=True)])
        if private:
            _privacy.check_complete(by_modality == sizes[:, None])
    policies = {str(label): of["policy"] for label, of in zip(labels_there, told, strict=True) if of["policy"]}
    reading = DataDescription(
        n_features=told[0]["n_features"],
        feature_names=feature_names,
        number_names=numbers,
        n_outputs=told[0]["n_outputs"],
        y_ndim=told[0]["y_ndim"],
        clients=clients,
        positions=positions,
        sizes=sizes,
        categories=categories,
        modalities=told[0]["modalities"],
        label_columns=tuple(told[0]["label_columns"]),
        central=False,
        policies={} if private else policies,
    )
    if earlier is not None:
        _check_same_columns(reading, earlier)
    told_all = {"parameters": parameters, "columns": columns, "run": exchange.run, "categories": categories}
    agreed = exchange.keep(told_all | {"masked": by_modality is not None})
    return reading, Remote(exchange, positions, sizes, by_modality, agreed, "torch", ledger)


def _check_described(position: int, answer: Any) -> None:
    """Raise WireError where an answer is no description."""
    n_rows = answer["n_rows"]
    if "label" not in answer or type(n_rows) is not int or n_rows < 1 or type(answer["n_features"]) is not int:
        raise WireError("a description of rows was asked for")
    if not isinstance(answer["columns"], (str, type(None))) or not isinstance(answer["policy"], str):
        raise WireError("hashes of names and of a policy were asked for")
    if not answer["discrete"] or "modalities" in answer:
        missing = [name for name in (*ALIKE, "by_modality") if name not in answer]
        if missing:
            raise WireError(f"a description of rows lacks {missing[0]}")


def _agreed_columns(exchange: Exchange, positions: list[int], told: list[Mapping[str, Any]]) -> str | None:
    """Return the hash of the names of columns that all clients have; None where none of them has names.

    Raises ValueError that says which column is the first that somebody else calls otherwise; that client is told too.
    """
    hashes = [answer["columns"] for answer in told]
    usual = max(hashes, key=hashes.count)
    odd = [p for p, of in zip(positions, hashes, strict=True) if of != usual]
    if not odd:
        return usual
    most, reference = odd[0], positions[hashes.index(usual)]
    fact = f"client {exchange.labels[most]!r} has other names of columns than client {exchange.labels[reference]!r}"
    remedy = "let all load_data return the same columns in the same order."
    if None in hashes:
        raise ValueError(f"{fact} (one has names, the other has none); {remedy}")
    alike, unlike = 0, int(told[0]["n_features"])
    while unlike - alike > 1:  # the first names of so many columns are alike, and of so many are not
        half = (alike + unlike) // 2
        of = exchange.ask_all("names", dict.fromkeys((most, reference), half), check=_check_hash)
        alike, unlike = (half, unlike) if of[most] == of[reference] else (alike, half)
    exchange.ask("differs", {most: alike})
    raise ValueError(f"{fact} (column {alike} is the first); {remedy}")


def _names(
    exchange: Exchange, positions: list[int], columns: str | None, n_features: int, earlier: Fitted | None
) -> tuple[NDArray | None, NDArray | None]:
    """Return the names of the columns that have a hash, as text or as numbers: of the first client that tells them.

    Those of an earlier fit are taken where they have that hash, and nobody is asked. None where nobody tells.
    """
    if columns is None:
        return None, None
    if earlier is not None:
        known = earlier.feature_names, earlier.number_names
        if digest_of_names(texts_of(*known), exchange.run) == columns:
            return known
    for p in positions:
        found, _ = exchange.ask("names", {p: None})
        with suppress(TypeError, ValueError, KeyError):
            text, numbers = found[p]["feature_names"], found[p]["number_names"]
            text = None if text is None else np.array([str(name) for name in text], dtype=object)
            numbers = None if numbers is None else np.asarray(numbers, dtype=np.float64)
            if digest_of_names(texts_of(text, numbers), exchange.run) == columns:
                return text, numbers
    _show("no client tells the names of its columns: the model has none")
    return None, None


def _check_hash(position: int, answer: Any) -> None:
    """Raise WireError where an answer is no hash."""
    if not isinstance(answer, str):
        raise WireError("a hash of names was asked for")


def _labels(labels: list[Any]) -> NDArray:
    """Return what clients are called, checked; ValueError where two have one label."""
    ids = check_client_ids(labels, len(labels), "the federation", "clients")
    if len(np.unique(ids)) < len(labels):
        twice = sorted({repr(label) for label in labels if labels.count(label) > 1})
        raise ValueError(f"several clients are called {', '.join(twice)}; give each a label of its own.")
    return ids


def _check_same_columns(reading: DataDescription, earlier: Fitted) -> None:
    """Raise ValueError where the columns are others than those of the model to go on from."""
    both = [of.number_names if of.feature_names is None else of.feature_names for of in (reading, earlier)]
    now, before = (None if names is None else list(names) for names in both)
    if reading.n_features != earlier.n_features or (now is not None and before is not None and now != before):
        raise ValueError(
            f"the clients' columns ({reading.n_features if now is None else _short(now)}) are others than those of the "
            f"model to go on from ({earlier.n_features if before is None else _short(before)}); let load_data return "
            "the same, or fit a new estimator."
        )


def _check_alike(labels: list[Any], told: list[Mapping[str, Any]], names: list[str]) -> None:
    """Raise ValueError where clients say unlike things of what all must have alike."""
    for name in names:
        first = _plain(told[0][name])
        for label, answer in zip(labels, told, strict=True):
            if _plain(answer[name]) != first:
                raise ValueError(
                    f"client {label!r} has other {ALIKE[name]} than client {labels[0]!r} ({_short(answer[name])} and "
                    f"{_short(told[0][name])}); let all load_data return the same columns in the same order."
                )


def _plain(value: Any) -> Any:
    """Return a value that can be compared."""
    if isinstance(value, Mapping):
        return [(key, _plain(entry)) for key, entry in value.items()]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _short(value: Any) -> str:
    text = repr(_plain(value))
    return text if len(text) <= 60 else f"{text[:57]}..."
