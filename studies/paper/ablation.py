"""Each term of the objective switched off by itself, and all of them, at the default weights and at larger ones.

    python studies/paper/ablation.py --repeats 2
    python studies/paper/ablation.py --cases y1 --repeats 2

Same folds, clients, first weights and order of rows for all; Ridge behind Z.
"""

from __future__ import annotations

from _study import each, matching, options
from protocols import iid, variants
from settings import OFF

WEIGHTS = {"default": 1e-3, "large": 0.1}


def candidates() -> dict[str, dict[str, float]]:
    """Which weights each variant has."""
    found = {"all off": OFF}
    for size, weight in WEIGHTS.items():
        all_on = dict.fromkeys(OFF, weight)
        found[f"{size}: all on"] = all_on
        found |= {f"{size}: without {term}": {**all_on, term: 0.0} for term in OFF}
    return found


def main() -> None:
    args = options(__doc__, cases=["tecator-*", "corn-m5-*"], repeats=20).parse_args()
    chosen = matching(candidates(), args.methods)

    def measure(case, repeat):
        table = case.table(repeat)
        splits = case.splits(table, repeat)
        return variants(case.name, table, splits, chosen, repeat, client_ids=iid(table.y, repeat))

    each("ablation", args, measure)


if __name__ == "__main__":
    main()
