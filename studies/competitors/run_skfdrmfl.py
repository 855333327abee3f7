"""skfdrmfl through its public face, with the engine that it takes by itself.

    python run_skfdrmfl.py N_CLIENTS N_ROUNDS

It standardises y and draws first weights of its own; a round's seconds are what a longer fit takes longer.
"""

import time

import numpy as np
import torch
import workload

import skfdrmfl
from skfdrmfl import FDRMFLTransformer
from skfdrmfl.encoders import DenseEncoder

MORE, SAMPLES = 20, 5


def main() -> None:
    torch.set_num_threads(1)
    n_clients, n_rounds = workload.arguments()
    x, y = workload.rows(n_clients)
    X, target = x.reshape(-1, workload.N_COLUMNS), y.ravel()
    ids = np.repeat(np.arange(n_clients), workload.N_ROWS)

    def fit(n: int) -> tuple[FDRMFLTransformer, float]:
        start = time.perf_counter()
        model = FDRMFLTransformer(
            encoders=DenseEncoder(workload.LAYERS[1:3], skip=False),
            preprocessing=None,
            n_rounds=n,
            local_epochs=workload.N_EPOCHS,
            batch_size=workload.BATCH_SIZE,
            learning_rate=workload.LEARNING_RATE,
            weight_decay=workload.WEIGHT_DECAY,
            mi_weight=0.0,
            kl_weight=0.0,
            contrastive_weight=0.0,
            random_state=0,
            tuning=None,
        ).fit(X, target, client_ids=ids)
        return model, time.perf_counter() - start

    model, _ = fit(n_rounds)
    seconds = [(fit(n_rounds + MORE)[1] - fit(n_rounds)[1]) / MORE for _ in range(SAMPLES)]
    loss = float(np.mean((np.asarray(model.predict(X)) - target) ** 2))
    workload.report(seconds, loss, version=skfdrmfl.__version__)


if __name__ == "__main__":
    main()
