"""skfdrmfl through its public face, in a process of its own: for peak memory and for the time from a cold start.

python run_skfdrmfl.py memory N_CLIENTS N_ROUNDS     # the rows of `workload`, all four terms; prints MB
python run_skfdrmfl.py fresh N_CLIENTS N_ROUNDS      # Tecator, default settings
python run_skfdrmfl.py imports                       # torch and scikit-learn alone; prints MB
"""

import json
import sys
from collections.abc import Callable


def peak_megabytes() -> float:
    """Peak resident memory of this process.

    Linux's own figure: `resource.getrusage` of a child also counts its parent before the `exec`.
    """
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000
    except FileNotFoundError:
        import resource

        unit = 1e6 if sys.platform == "darwin" else 1e3
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def memory(n_clients: int, n_rounds: int) -> None:
    """Fit on 64 rows of 100 columns a client."""
    import numpy as np
    import workload

    from skfdrmfl import FDRMFLTransformer
    from skfdrmfl.encoders import DenseEncoder

    x, y = workload.rows(n_clients)
    FDRMFLTransformer(
        encoders=DenseEncoder(workload.LAYERS[1:3], skip=False), n_rounds=n_rounds, local_epochs=3, random_state=0
    ).fit(x.reshape(-1, x.shape[-1]), y.ravel(), client_ids=np.repeat(np.arange(n_clients), workload.N_ROWS))


def fresh(n_clients: int, n_rounds: int) -> None:
    """What a first snippet does."""
    from skfdrmfl import FDRMFLTransformer
    from skfdrmfl.datasets import load_tecator, make_client_ids

    X, y = load_tecator(return_X_y=True)
    client_ids = make_client_ids(y, n_clients, random_state=0)
    FDRMFLTransformer(n_rounds=n_rounds, random_state=0).fit(X, y, client_ids=client_ids)


def imports() -> None:
    """What nobody can do without."""
    import sklearn  # noqa: F401
    import torch  # noqa: F401


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    parts: dict[str, Callable[..., None]] = {"memory": memory, "fresh": fresh, "imports": imports}
    parts[what](*map(int, numbers))
    print(json.dumps({"peak_mb": peak_megabytes()}))
