"""The paper's three simulations under the fair protocol and as published.

    python studies/paper/simulations.py --repeats 2             # about ten minutes
    python studies/paper/simulations.py --cases y1 --wide-forests
    python studies/paper/simulations.py --protocol published --repeats 2

A repeat draws 2,000 training and 500 test rows anew, so its differences are independent of other repeats'.
Forests behind more than 200 columns (PCA with 90 % of the variance needs 1,300 of 3,604) take minutes each and
are grown with `--wide-forests` only. A Gaussian process of 2,000 rows with a scale for each column is left out.
"""

from __future__ import annotations

from _study import each, matching, options
from methods import ALL, FDRMFL
from protocols import as_published, fair

LEFT_OUT = ("GP on 20 whitened PCs", "FDRMFL, tuned")
PUBLISHED = ("PCA, 90 %", "TruncatedSVD, as PCA 90 %", "random projection, as PCA 90 %", "VAE, 16", FDRMFL)


def main() -> None:
    out = options(__doc__, cases=["y?"], repeats=20)
    out.add_argument("--protocol", choices=["fair", "published"], default="fair")
    out.add_argument("--wide-forests", action="store_true", help="grow them, minutes each")
    args = out.parse_args()
    if args.protocol == "fair":
        methods = matching({name: m for name, m in ALL.items() if name not in LEFT_OUT}, args.methods)
        each("fair", args, lambda case, r: fair(case, methods, r, wide_forests=args.wide_forests))
    else:
        methods = matching({name: ALL[name] for name in ("mean predictor", *PUBLISHED)}, args.methods)
        each("published", args, lambda case, r: as_published(case, methods, FDRMFL, r))


if __name__ == "__main__":
    main()
