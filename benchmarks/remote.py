"""What a fit over a network costs and reaches, measured without one: studies/notes.md, "Over a network".

    python benchmarks/remote.py            # about two minutes

1. A site's own time, from the request to its answer but for `load_data`, over that of its local training; and what it
   would be if a site prepared its rows anew for each message.
2. RMSE of Tecator's fat with few rounds of many epochs, over that of the default: 5 folds that part no repeats, rows
   dealt to three sites twice. Over a network the models have the same bits (tests/test_remote.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator
from skfdrmfl.estimator._elsewhere import fit_elsewhere
from skfdrmfl.estimator._site import site_of
from skfdrmfl.federation.remote.packet import Packet
from skfdrmfl.federation.remote.prepared import ROWS
from skfdrmfl.federation.simulation import LocalTraining

FEW: tuple[dict[str, Any], ...] = (
    {"algorithm": "scaffold", "n_rounds": 15, "local_epochs": 20},
    {"algorithm": "scaffold", "n_rounds": 15, "local_epochs": 30},
    {"n_rounds": 15, "local_epochs": 20},
    {"n_rounds": 10, "local_epochs": 30},
)


class Timed:
    """A channel to one site in this process that takes the time of answers; between them, what is kept is flat."""

    wait = 0.0

    def __init__(self, site: Any, *, keeps: bool):
        self.site, self.kept, self.seconds, self._keeps = site, {}, [], keeps

    def addresses(self) -> list[int]:
        return [0]

    def ask(self, packets: Mapping[Any, Packet]) -> dict[Any, Packet]:
        (packet,) = packets.values()
        start = time.perf_counter()
        kept = {name: Packet.of_flat(*flat) for name, flat in self.kept.items()}
        answer, keep = self.site.answer(Packet.of_flat(*packet.flat()), kept)
        keep = {name: value for name, value in keep.items() if self._keeps or not name.endswith(ROWS)}
        self.kept = {name: self.kept.get(name) or value.flat() for name, value in keep.items()}
        self.seconds.append(time.perf_counter() - start)
        return {0: answer}


def own_time(n_rows: int, n_columns: int) -> None:
    """Print how long a site takes for a round, over its training, with what it keeps and without."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_columns))
    y = X[:, 0] + rng.standard_normal(n_rows)
    (first, ratio), (_, anew) = (_rounds(X, y, keeps=keeps) for keeps in (True, False))
    print(
        f"{n_rows} rows, {n_columns} columns: {first:.2f} s of training, own time {ratio:.3f}, prepared anew {anew:.3f}"
    )


def _rounds(X: Any, y: Any, *, keeps: bool) -> tuple[float, float]:
    """Return medians over rounds: seconds of training, and the site's time over these."""
    spent, train = [], LocalTraining.train

    def timed(self: LocalTraining, *arguments: Any) -> Any:
        start = time.perf_counter()
        updates = list(train(self, *arguments))
        spent.append(time.perf_counter() - start)
        return iter(updates)

    estimator = FDRMFLTransformer(n_rounds=7, random_state=0)
    channel = Timed(site_of(estimator, lambda: (X, y), "a"), keeps=keeps)
    LocalTraining.train = timed  # type: ignore[method-assign]
    try:
        fit_elsewhere(estimator, channel)
    finally:
        LocalTraining.train = train  # type: ignore[method-assign]
    own = np.array(channel.seconds[-3 - len(spent) : -3])  # three exchanges of sums follow the rounds
    return float(np.median(spent)), float(np.median(own / spent))


def few_rounds() -> None:
    """Print errors with few rounds."""
    X, y = load_tecator(return_X_y=True)
    groups = np.unique(X, axis=0, return_inverse=True)[1].ravel()

    def rmse(**parameters: Any) -> float:
        squares = []
        for seed in range(2):
            ids = np.random.default_rng(seed).permutation(np.arange(len(X)) % 3)
            for train, test in GroupKFold(5).split(X, y, groups):
                model = FDRMFLTransformer(random_state=seed, **parameters)
                model.fit(X[train], y[train], client_ids=ids[train])
                squares.append(float(((model.predict(X[test]) - y[test]) ** 2).mean()))
        return float(np.sqrt(np.mean(squares)))

    default = rmse()
    print(f"default: {default:.3f}")
    for parameters in FEW:
        found = rmse(**parameters)
        print(f"{parameters}: {found:.3f}, {found / default:.3f} of it", flush=True)


if __name__ == "__main__":
    for shape in ((8000, 100), (6000, 700)):
        own_time(*shape)
    few_rounds()
