"""Who sees what in a fit over Flower, drawn from the ledger in the model that it has left.

    python benchmarks/flower_picture.py spectra.skfdrmfl          # to docs/figures/flower_who_sees_what.png

The figure of docs/run_a_site.md is that of examples/flower.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from _common import DOCS_FIGURES, arguments, parser

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.protocol.ledger import EACH, TOTAL, UP

FIGURE = "flower_who_sees_what.png"
SITE, SERVER = 0.0, 1.0
COLORS = {TOTAL: "tab:green", EACH: "tab:red", "": "tab:gray"}
MEANING = {
    TOTAL: "the server needs the sum alone; it sees each, as there is no secure sum",
    EACH: "the server needs each site's",
    "": "every site gets the same, or its own",
}


def main() -> None:
    """Draw each kind of message once, in order of first appearance."""
    options = parser(__doc__, DOCS_FIGURES)
    options.add_argument("model", type=Path, nargs="?", help="saved by a fit; without it, one is fitted here")
    args = arguments(options)
    if args.model is None:
        X, y = load_tecator(return_X_y=True)
        model = FDRMFLTransformer(random_state=0, tuning=None).fit(
            X, y, client_ids=make_client_ids(y, 3, random_state=0)
        )
    else:
        model = FDRMFLTransformer.load(args.model)
    kinds = model.federation_log_.by_kind()
    fig, ax = plt.subplots(figsize=(8.6, 0.42 * len(kinds) + 1.6), layout="constrained")
    for i, kind in enumerate(kinds):
        start, end = (SITE, SERVER) if kind["direction"] == UP else (SERVER, SITE)
        color = COLORS[kind["seen"]]
        ax.annotate("", (end, -i), (start, -i), arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.6})
        size = kind["bytes"] / kind["messages"]
        often = f", {kind['records']} times" if kind["records"] > 1 else ""
        ax.text(0.5, -i + 0.08, f"{kind['what']}: {_in_words(size)}{often}", ha="center", va="bottom", fontsize=8.5)
    for x, name in ((SITE, "each site\nX, y, groups stay here"), (SERVER, "server\nadds up, keeps the model")):
        ax.plot([x, x], [0.6, -len(kinds) + 0.4], color="black", lw=1)
        ax.text(x, 0.9, name, ha="center", va="bottom", fontsize=9.5, weight="bold")
    for i, (seen, color) in enumerate(COLORS.items()):
        ax.text(0.5, -len(kinds) - 0.1 - 0.75 * i, MEANING[seen], color=color, ha="center", va="top", fontsize=8.5)
    ax.set(xlim=(-0.25, 1.25), ylim=(-len(kinds) - 2.4, 2.4))
    ax.axis("off")
    args.out.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.out / FIGURE, dpi=110)
    print(f"Written to {args.out / FIGURE}")


def _in_words(n_bytes: float) -> str:
    return f"{n_bytes:.0f} B" if n_bytes < 1000 else f"{n_bytes / 1000:.1f} kB"


if __name__ == "__main__":
    main()
