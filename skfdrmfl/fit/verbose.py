"""What `verbose` shows of a fit: a bar, or a line for every round."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skfdrmfl.common.progress import Bar

NO_CLIENTS = "[FDRMFL] no client_ids and no client_column: all rows are one client's, central training"


class VerbosePrinter:
    """Shows how training goes: with `verbose` 1 a bar, from 2 on, or where there is one round, lines.

    Parameters
    ----------
    verbose : int
    n_rounds : int
    central : bool
        Whether the fit got no clients, which is said first.
    """

    def __init__(self, verbose: int, n_rounds: int, *, central: bool):
        if verbose and central:
            print(NO_CLIENTS, flush=True)
        self._n_rounds = n_rounds
        self._lines = verbose > 1 or (verbose > 0 and n_rounds == 1)
        self._shown = verbose > 0
        self._bar = Bar("[FDRMFL] training", n_rounds, "round", shown=verbose == 1 and n_rounds > 1)

    def after_round(self, of_round: Callable[[], Mapping[str, float]]) -> None:
        """Show where training stands after a round, by what `Trained.numbers` says of it when it is asked."""
        if not self._shown:
            return
        numbers = of_round()
        if done := int(numbers["round"]):
            shown = [name for name in ("loss", "mse", "clip_norm") if name in numbers]
            text = ", ".join(f"{name.removesuffix('_norm')} {numbers[name]:.4g}" for name in shown)
            self._bar.reach(done, text)
            if self._lines:
                print(f"[FDRMFL] round {done}/{self._n_rounds}, {text}", flush=True)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
