"""Error against how unlike the clients are, with and without the contrastive term.

    python studies/paper/heterogeneity.py --repeats 2

Five clients. Dirichlet label skew from strong (0.1) to none (100), then rows dealt at random, then the extreme:
each client holds one slice of the sorted y. The other two terms are off. Ridge behind Z.
"""

from __future__ import annotations

from _study import each, matching, options
from protocols import variants
from settings import OFF

from skfdrmfl.datasets import make_client_ids

N_CLIENTS = 5
DEALS = {
    "quantile": {"scheme": "quantile"},
    **{f"dirichlet {alpha:g}": {"scheme": "dirichlet", "alpha": alpha} for alpha in (0.1, 0.3, 1.0, 10.0, 100.0)},
    "iid": {"scheme": "iid"},
}
WEIGHTS = (0.0, 0.1, 0.5)


def main() -> None:
    args = options(__doc__, cases=["tecator-fat"], repeats=20).parse_args()
    candidates = {f"contrastive {w:g}": {**OFF, "contrastive_weight": w} for w in WEIGHTS}

    def measure(case, repeat):
        table = case.table(repeat)
        splits = case.splits(table, repeat)
        scores = {}
        for name, how in matching(DEALS, args.methods).items():
            client_ids = make_client_ids(table.y, N_CLIENTS, random_state=repeat, **how)
            record = variants(case.name, table, splits, candidates, repeat, client_ids=client_ids)
            scores |= {f"{name}, {variant}": by for variant, by in record["scores"].items()}
        return {**record, "scores": scores}

    each("heterogeneity", args, measure)


if __name__ == "__main__":
    main()
