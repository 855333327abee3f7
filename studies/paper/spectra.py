"""Tecator and Corn, spectrum alone and in two modalities, under the fair protocol and as published.

    python studies/paper/spectra.py --repeats 2 --cases 'tecator-*'
    python studies/paper/spectra.py --cases 'corn-m5-*' --methods 'FDRMFL*' 'Ridge*'
    python studies/paper/spectra.py --protocol published

A repeat is five shuffled folds, repeats of a spectrum together, three clients dealt at random. In the two-modality
setting the other contents of the same sample are the second modality.
"""

from __future__ import annotations

from _study import each, matching, options
from methods import ALL, FDRMFL, NEITHER, OURS, REDUCERS, TREATMENT_CHOSEN
from protocols import as_published, fair

CASES = ("tecator-*", "corn-m5-*", "corn-mp5-*")


def main() -> None:
    out = options(__doc__, cases=CASES, repeats=20)
    out.add_argument("--protocol", choices=["fair", "published"], default="fair")
    args = out.parse_args()
    if args.protocol == "fair":
        # With the package's defaults "neither" is FDRMFL itself.
        candidates = {name: m for name, m in {**ALL, **TREATMENT_CHOSEN}.items() if name != NEITHER}
        methods = matching(candidates, args.methods)
        each("fair", args, lambda case, r: fair(case, methods, r))
    else:
        candidates = {"mean predictor": ALL["mean predictor"], **REDUCERS, FDRMFL: OURS[FDRMFL]}
        methods = matching(candidates, args.methods)
        each("published", args, lambda case, r: as_published(case, methods, FDRMFL, r))


if __name__ == "__main__":
    main()
