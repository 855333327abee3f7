"""A fit whose rows are elsewhere: the server's side, over any channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from skfdrmfl.common.threads import quiet_torch
from skfdrmfl.data.categories import Categories
from skfdrmfl.data.client_ids import check_client_ids, encode_clients
from skfdrmfl.estimator import _privacy
from skfdrmfl.estimator._callbacks import Task
from skfdrmfl.estimator._preparation import lay_out, ledger_of
from skfdrmfl.estimator._privacy import check_private
from skfdrmfl.estimator._reading import Description
from skfdrmfl.estimator._running import train_and_keep
from skfdrmfl.estimator._site import agreed_parameters
from skfdrmfl.federation.remote.channel import Channel
from skfdrmfl.federation.remote.exchange import Exchange
from skfdrmfl.federation.remote.packet import WireError
from skfdrmfl.federation.remote.server import Remote, RemoteLabels
from skfdrmfl.federation.sums.labels import agree

# What all clients must say alike, and what that is to a reader.
ALIKE = {
    "discrete": "discrete columns",
    "n_features": "columns",
    "feature_names": "names of columns",
    "n_outputs": "outputs",
    "y_ndim": "dimensions of y",
    "modalities": "modalities",
    "label_columns": "columns of labels",
}


def fit_elsewhere(estimator: Any, channel: Channel) -> Any:
    """Fit an estimator to rows that are elsewhere, and return it.

    Parameters
    ----------
    estimator : FDRMFLTransformer
    channel : Channel

    Raises
    ------
    ValueError
        Clients who do not fit together, or parameters that cannot be carried.
    NoAnswer
        Clients who have not answered what nobody else can say.
    TimeoutError
        Too few clients are there.
    """
    estimator._validate_params()
    check_carried(estimator)
    check_private(estimator)
    with quiet_torch():
        reading, federation = gather(estimator, channel)
        fitting = lay_out(
            estimator, reading, lambda blueprint, engine: replace(federation, engine=engine), federation.device
        )
        train_and_keep(estimator, fitting, Task(estimator))
    return estimator


def check_carried(estimator: Any) -> None:
    """Raise ValueError where parameters ask for what only works in one memory."""
    if estimator.warm_start:
        raise ValueError(
            "warm_start=True goes on from an earlier fit, which a fit over a network cannot do yet; set it to False."
        )
    if estimator.availability is not None:
        raise ValueError(
            "availability simulates who is there, but over a network clients come and go by themselves; set it to "
            "None, and min_clients and participation as they suit you."
        )


def gather(estimator: Any, channel: Channel) -> tuple[Description, Remote]:
    """Return what the clients say of their rows, and the federation of them."""
    addresses = channel.addresses()
    first = Exchange(channel, addresses, [f"at {address}" for address in addresses])
    about: dict[str, Any] = {"parameters": agreed_parameters(estimator), "categories": None}
    said = first.ask_all("describe", dict.fromkeys(range(len(addresses)), about), check=_check_described)
    order, clients = _ordered([answer["label"] for answer in said.values()])
    told = [said[i] for i in order]
    exchange = Exchange(channel, [addresses[i] for i in order], clients.tolist())
    everybody = range(len(clients))
    _check_alike(exchange.labels, told, ["discrete"])
    positions = np.arange(len(clients))
    sizes = np.array([answer["n_rows"] for answer in told], dtype=np.int64)
    ledger = ledger_of(None)
    discrete = told[0]["discrete"]
    if _privacy.is_private(estimator):
        _privacy.check_no_labels(discrete)
        ledger.crowd = len(clients)
        clients = positions
    categories: Categories = {}
    if discrete:
        categories = agree(RemoteLabels(exchange, positions, sizes, None, "", "stacked", ledger), discrete)
        questions = dict.fromkeys(everybody, about | {"categories": categories})
        told = list(exchange.ask_all("describe", questions, check=_check_described).values())
    _check_alike(exchange.labels, told, list(ALIKE))
    names = told[0]["feature_names"]
    by_modality = None
    if any(answer["by_modality"] is not None for answer in told):
        n_modalities = len(told[0]["modalities"])
        by_modality = np.stack(
            [
                np.full(n_modalities, n) if a["by_modality"] is None else a["by_modality"]
                for a, n in zip(told, sizes, strict=True)
            ]
        )
        if _privacy.is_private(estimator):
            _privacy.check_complete(by_modality == sizes[:, None])
    reading = Description(
        n_features=told[0]["n_features"],
        feature_names=None if names is None else np.array(names, dtype=object),
        n_outputs=told[0]["n_outputs"],
        y_ndim=told[0]["y_ndim"],
        clients=clients,
        positions=positions,
        sizes=sizes,
        categories=categories,
        modalities=told[0]["modalities"],
        label_columns=tuple(told[0]["label_columns"]),
        central=False,
    )
    agreed = exchange.keep({"categories": categories, "masked": by_modality is not None})
    return reading, Remote(exchange, positions, sizes, by_modality, agreed, "stacked", ledger)


def _check_described(position: int, answer: Any) -> None:
    """Raise WireError where an answer is no description."""
    n_rows = answer["n_rows"]
    if "label" not in answer or not isinstance(n_rows, int) or n_rows < 1:
        raise WireError("a description of rows was asked for")
    if not answer["discrete"] or "modalities" in answer:
        missing = [name for name in (*ALIKE, "by_modality") if name not in answer]
        if missing:
            raise WireError(f"a description of rows lacks {missing[0]}")


def _ordered(labels: list[Any]) -> tuple[list[int], Any]:
    """Return the order of clients by their labels, and the labels in it; ValueError where two have one."""
    ids = check_client_ids(labels, len(labels), "the federation", "clients")
    clients, codes = encode_clients(ids)
    if len(clients) < len(labels):
        twice = sorted({repr(label) for label in labels if labels.count(label) > 1})
        raise ValueError(f"several clients are called {', '.join(twice)}; give each a label of its own.")
    return np.argsort(codes).tolist(), clients


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
