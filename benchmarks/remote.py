"""What a fit over a network costs and reaches, measured without one: docs/flower.md, "Asked and reached".

    python benchmarks/remote.py            # about two minutes

1. A site's own time, from the request to its answer but for `load_data`, over that of its local training.
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
from skfdrmfl.federation.simulation import LocalTraining

FEW: tuple[dict[str, Any], ...] = (
    {"algorithm": "scaffold", "n_rounds": 15, "local_epochs": 20},
    {"algorithm": "scaffold", "n_rounds": 15, "local_epochs": 30},
    {"n_rounds": 15, "local_epochs": 20},
    {"n_rounds": 10, "local_epochs": 30},
)


class Timed:
    """A channel to one site in this process that takes the time of answers."""

    wait = 0.0

    def __init__(self, site: Any):
        self.site, self.kept, self.seconds = site, {}, []

    def addresses(self) -> list[int]:
        return [0]

    def ask(self, packets: Mapping[Any, Packet]) -> dict[Any, Packet]:
        (packet,) = packets.values()
        start = time.perf_counter()
        answer, self.kept = self.site.answer(Packet.of_flat(*packet.flat()), self.kept)
        self.seconds.append(time.perf_counter() - start)
        return {0: answer}


def own_time(n_rows: int, n_columns: int) -> None:
    """Print how long a site takes for a round, and how much of that is training."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_columns))
    y = X[:, 0] + rng.standard_normal(n_rows)
    spent, train = [], LocalTraining.train

    def timed(self: LocalTraining, *arguments: Any) -> Any:
        start = time.perf_counter()
        updates = list(train(self, *arguments))
        spent.append(time.perf_counter() - start)
        return iter(updates)

    estimator = FDRMFLTransformer(n_rounds=5, random_state=0)
    channel = Timed(site_of(estimator, lambda: (X, y), "a"))
    LocalTraining.train = timed  # type: ignore[method-assign]
    try:
        fit_elsewhere(estimator, channel)
    finally:
        LocalTraining.train = train  # type: ignore[method-assign]
    own = np.array(channel.seconds[-3 - len(spent) : -3])  # three exchanges of sums follow the rounds
    ratio = own / spent
    print(f"{n_rows} rows, {n_columns} columns: {np.median(spent):.2f} s of training, own time {np.median(ratio):.3f}")


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
    for shape in ((6000, 100), (3000, 700)):
        own_time(*shape)
    few_rounds()
