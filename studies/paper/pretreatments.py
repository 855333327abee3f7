"""What chemometricians compare: pre-treated spectra, the published split, and an instrument or client left out.

    python studies/paper/pretreatments.py --repeats 1 --cases 'tecator-fat*'
    python studies/paper/pretreatments.py --cases '*left-out' --methods 'FDRMFL*' Ridge*

SNV and Savitzky-Golay derivatives treat each row by itself, so nothing passes between clients or from test to
training rows; they stand before every method alike. "snv + std" puts what SNV divides out back as one more column of
the same block, "snv + mean + std" what it subtracts too. `tecator-fat/T` is trained on the published sets C and M and
tested on T. `corn-protein/left-out` has one client an instrument and is tested on an instrument that trained
nothing, and on samples that no instrument trained on; `tecator-fat/left-out` the same with slices of the sorted
contents as clients. There FDRMFL is trained federated, centrally and by each client alone, and on columns of unit
variance: whitening enlarges what is small, and that is where instruments differ.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from functools import partial

from _study import each, matching, options
from cases import (
    CORN,
    TECATOR,
    Case,
    choose,
    instruments,
    left_out_clients,
    original_split,
    select,
    sorted_clients,
)
from methods import ALL, ALONE, CENTRAL, FDRMFL, TUNED, Method, fdrmfl
from protocols import fair
from treatments import CHOICES, PRETREATMENTS

METHODS = ("mean*", "Ridge*", "GP*", "MLP*", "PCA, 2", "PLS, 2", "PLS, 16*", FDRMFL, TUNED, CENTRAL, ALONE)
STANDARDIZED = "FDRMFL, standardized"


def more_cases(corn) -> list[Case]:
    """Every way of splitting."""
    found = []
    for case in select([f"tecator-{target}" for target in TECATOR], corn):
        found += [case, replace(case, name=f"{case.name}/T", splits=original_split)]
    found += select([f"tecator-{target}-two" for target in TECATOR], corn)
    for target in TECATOR:
        found.append(Case(f"tecator-{target}/left-out", "RMSE", partial(sorted_clients, target), left_out_clients))
    for target in CORN:
        found.append(Case(f"corn-{target}/left-out", "RMSE", partial(instruments, corn, target), left_out_clients))
    return found


def main() -> None:
    parser = options(__doc__, cases=["*"], repeats=20)
    parser.add_argument("--pretreatments", nargs="+", default=list(PRETREATMENTS), choices=list(PRETREATMENTS))
    args = parser.parse_args()
    chosen = {name: m for name, m in ALL.items() if any(fnmatch(name, p) for p in METHODS)}
    chosen[STANDARDIZED] = Method(fdrmfl(preprocessing="standardize"), ids="client_ids")
    methods = matching(chosen, args.methods)
    cases = []
    for case in choose(more_cases(args.corn), args.cases):
        for name in args.pretreatments:
            if name in CHOICES or "left-out" not in case.name:
                treated = case.with_pretreatment(PRETREATMENTS[name])
                cases.append(replace(treated, name=f"{case.name}/{name}"))
    each("pretreatments", args, lambda case, r: fair(case, methods, r), cases)


if __name__ == "__main__":
    main()
