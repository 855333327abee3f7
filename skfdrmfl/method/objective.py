"""The objective of one client: the table of its terms, and what it comes to on a batch.

Rows of different clients are never mixed. Tensors carry a leading replica axis (C, ...) along which every operation is
independent; with C = 1 this is the code of a single client. The gradient is autograd's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import repeat
from operator import add

from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.method.equations import contrast, divergence, information, prediction
from skfdrmfl.method.network import Network
from skfdrmfl.method.parts import Views

# The settings of the terms in use, each (C,), by name. Weights that are zero for every client are left out.
Lambdas = Mapping[str, "Tensor"]


@dataclass(slots=True)
class Batch:
    """Holds the rows of one step, or of several along a further first axis, and what they are compared with."""

    x: Tensor  # (C, B, columns)
    y_pairs: Tensor  # (C, 2 B, q), y followed by y shifted cyclically inside the batch
    references: Tensor | None  # (C, B, 1 + H, c), unit vectors as of `info_nce`; None without negatives
    # (C, B), each row's share of its client's batch, zero for padding; for pairs zero too in a batch of one row
    weights: Tensor
    pair_weights: Tensor  # (C, B)
    mask: Tensor | None = None  # (C, B, M), which modalities a row has; None: all

    @property
    def y(self) -> Tensor:
        """The outputs (C, B, q), unshifted."""
        return self.y_pairs.narrow(-2, 0, self.x.shape[-2])

    def steps(self) -> Iterator[Batch]:
        """Return each of several steps as a batch of its own."""
        parts = self.x, self.y_pairs, self.references, self.weights, self.pair_weights, self.mask
        return map(Batch, *(repeat(None) if part is None else part.unbind() for part in parts))


class Pass:
    """One forward pass over a batch, and what the terms read of it; made when first asked for."""

    def __init__(self, network: Network, views: Views, batch: Batch, lambdas: Lambdas):
        self.network, self.views, self.batch, self.lambdas = network, views, batch, lambdas
        self.codes, self.z, self.y_hat = network.forward(views, batch.x, batch.mask)

    @cached_property
    def critic(self) -> tuple[Tensor, Tensor]:
        """T on pairs and on shifted pairs, each (C, B)."""
        return self.network.criticise(self.views, self.z, self.batch.y_pairs)

    @property
    def references(self) -> Tensor:
        """Unit Z of the rows under earlier models (C, B, 1 + H, c)."""
        assert self.batch.references is not None
        return self.batch.references

    @cached_property
    def log_variances(self) -> Tensor:
        """Learned log variances (C, B, M, d) of the codes."""
        return divergence.log_variances(self.network.spread(self.views, self.batch.x))


@dataclass(frozen=True)
class Term:
    """One term of the objective."""

    name: str  # in `history_`
    value: Callable[[Pass], Tensor]  # from a `Pass`, what the term is for each row (C, B), or for each batch (C,)
    # The setting, a parameter of the transformer, that the term is multiplied with; None: one
    weight: str | None = None
    # {"row", "pair", "batch"}, whether `value` is of each row, of each pair of a row and another's y, or of all rows of
    # a batch together, which then cannot be split
    of: str = "row"
    needs: str | None = None  # {"critic", "references"}, what is trained or kept for the term's sake
    settings: tuple[str, ...] = ()  # what else it reads, parameters of the transformer as well
    trained: bool = True  # whether it is part of the objective; if not, it is only recorded


# The kinds of R_kl: what it means that the modalities' codes agree, of a row or of a client's batch.
_KL = partial(Term, "kl", weight="kl_weight")
ALIGNMENTS = {
    "homoscedastic": _KL(lambda p: divergence.modality_alignment(p.codes, p.batch.mask)),
    "diagonal": _KL(lambda p: divergence.diagonal_alignment(p.codes, p.log_variances, p.batch.mask)),
    "moments": _KL(lambda p: divergence.moments_alignment(p.codes, p.batch.weights, p.batch.mask), of="batch"),
}
TERMS = (
    Term("mse", lambda p: prediction.squared_error(p.y_hat, p.batch.y)),
    Term("mi", lambda p: -information.jensen_shannon(*p.critic), "mi_weight", of="pair", needs="critic"),
    ALIGNMENTS["homoscedastic"],
    Term(
        "contrastive",
        lambda p: contrast.info_nce(p.z, p.references, p.lambdas["temperature"][:, None, None]),
        "contrastive_weight",
        needs="references",
        settings=("temperature",),
    ),
    Term("mi_nwj", lambda p: information.nwj(*p.critic), "mi_weight", of="pair", needs="critic", trained=False),
)


def terms_of(network: Network) -> tuple[Term, ...]:
    """Return the table of terms, with the kind of R_kl that the network is made for."""
    return tuple(ALIGNMENTS[network.alignment] if term.name == "kl" else term for term in TERMS)


def term_names() -> tuple[str, ...]:
    """Return what clients send of their objective: the terms, and "loss", their weighted sum."""
    return (*[term.name for term in TERMS], "loss")


def record_names() -> tuple[str, ...]:
    """Return what is recorded of each client and round: its terms, and how its update compares with the step."""
    return (*term_names(), "drift")


def weight_of_each_term() -> dict[str, str]:
    """Return the setting that weighs each trained term which has one, by the term's name."""
    return {term.name: term.weight for term in TERMS if term.weight is not None and term.trained}


def term_settings() -> tuple[str, ...]:
    """Return the names of all settings that terms read, weights and others, in the order of the table."""
    weights = [term.weight for term in TERMS if term.weight is not None]
    return tuple(dict.fromkeys([*weights, *[name for term in TERMS for name in term.settings]]))


def uses(settings: Mapping[str, float], needed: str) -> bool:
    """Return whether a term that `needs` this has a weight other than zero."""
    return any([term.needs == needed and (term.weight is None or settings[term.weight] > 0) for term in TERMS])


def lambdas_of(settings: Sequence[Mapping[str, float]], like: Tensor) -> dict[str, Tensor]:
    """Return `Lambdas` of clients with these settings of the terms, as tensors of the type and device of `like`."""
    weights = {term.weight for term in TERMS}
    columns = {name: [s[name] for s in settings] for name in term_settings()}
    return {name: like.new_tensor(values) for name, values in columns.items() if name not in weights or any(values)}


def term_values(network: Network, views: Views, batch: Batch, lambdas: Lambdas) -> dict[str, Tensor]:
    """Return each term in use, unweighted: (C, B) of rows and of pairs, (C,) of batches."""
    seen = Pass(network, views, batch, lambdas)
    values = {}
    for term in _terms_in_use(network, batch, lambdas):
        with torch.set_grad_enabled(torch.is_grad_enabled() and term.trained):
            values[term.name] = term.value(seen)
    return values


def term_shares(network: Network, batch: Batch, lambdas: Lambdas) -> dict[str, Tensor]:
    """Return the derivatives of L_k by the `term_values` that are trained, for one step or several."""
    shares = {}
    for term in _terms_in_use(network, batch, lambdas):
        if term.trained:
            share = _shares(term, batch)
            if term.weight is not None:
                weight = lambdas[term.weight]
                share = weight.expand(share.shape[:-1]) if term.of == "batch" else weight.unsqueeze(-1) * share
            shares[term.name] = share
    return shares


def term_means(network: Network, values: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Return the mean (..., C) of each of `term_values` over its batch, for one step or several."""
    return {
        term.name: values[term.name] if term.of == "batch" else (_shares(term, batch) * values[term.name]).sum(-1)
        for term in terms_of(network)
        if term.name in values
    }


def _terms_in_use(network: Network, batch: Batch, lambdas: Lambdas) -> list[Term]:
    """Return the terms that have a weight, and what they are compared with."""
    return [
        term
        for term in terms_of(network)
        if term.weight in (None, *lambdas) and not (term.needs == "references" and batch.references is None)
    ]


def _shares(term: Term, batch: Batch) -> Tensor:
    """Return what each row, or each pair, of a batch counts for in a term."""
    return batch.pair_weights if term.of == "pair" else batch.weights


def local_objective(network: Network, views: Views, batch: Batch, lambdas: Lambdas) -> dict[str, Tensor]:
    """Return L_k = MSE + lambda_1 R_mi + lambda_2 R_kl + lambda_3 R_fcl as "loss", and each term in use; all (C,)."""
    terms = term_means(network, term_values(network, views, batch, lambdas), batch)
    return {**terms, "loss": total(terms, lambdas)}


def total(terms: Mapping[str, Tensor], lambdas: Lambdas) -> Tensor:
    """Return L_k (C,), the weighted sum of the trained terms in use."""
    parts = (
        terms[term.name] if term.weight is None else lambdas[term.weight] * terms[term.name]
        for term in TERMS
        if term.trained and term.name in terms
    )
    return reduce(add, parts)


def summary(terms: Mapping[str, Tensor], lambdas: Lambdas) -> Tensor:
    """Return the `term_names` (C, n), given means over a round of the terms in use.

    A term is zero for clients whose weight is zero, for whom it was computed because others use it.
    """
    used = {}
    for term in TERMS:
        if term.name in terms:
            value = terms[term.name]
            used[term.name] = value if term.weight is None else torch.where(lambdas[term.weight] > 0, value, 0.0)
    used["loss"] = total(used, lambdas)
    nothing = torch.zeros_like(used["loss"])
    return torch.stack([used.get(name, nothing) for name in term_names()], -1)


def reference_codes(network: Network, views: Views, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return unit Z of the rows x (C, B, columns) under one set of global parameters: references of `info_nce`."""
    return contrast.unit(network.forward(views, x, mask).z)
