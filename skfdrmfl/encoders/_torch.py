"""The encoder that takes any `torch.nn.Module`."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from skfdrmfl.common.arrays import Arrays
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.encoders._spec import Encoder
from skfdrmfl.method.parts import Part, Shapes, Views, part_name

if TYPE_CHECKING:
    from torch import nn

Factory = Callable[[int, int], "nn.Module"]


@dataclass(eq=False, repr=False)
class TorchEncoder(Encoder):
    """Encoder whose network is a `torch.nn.Module`, made by a function that the user passes.

    The module takes rows (B, n_columns) and gives codes (B, modality_dim). It has to treat each row by itself and
    to be the same function whenever it is called: batch normalisation, buffers that change in training and random
    numbers are refused. Modules run in evaluation mode, so `torch.nn.Dropout` is inactive, in training too.
    Parameters with `requires_grad=False` stay as the factory makes them; the factory is called several times,
    each time with torch's generator seeded.

    Parameters
    ----------
    factory : callable
        factory(n_columns, modality_dim) -> torch.nn.Module, whose parameters are also its first weights. The
        transformer can be pickled if the factory can: a function of a module can, a lambda cannot.
    keep_columns : bool, default=True
        Whether the module gets the modality's own columns, in order and at most standardised. False is for
        modules to which they are just numbers, and lets `preprocessing="whiten"` replace them by directions.

    Examples
    --------
    >>> from torch import nn
    >>> from skfdrmfl.encoders import TorchEncoder
    >>> def two_layers(n_columns, modality_dim):
    ...     return nn.Sequential(nn.Linear(n_columns, 16), nn.Tanh(), nn.Linear(16, modality_dim))
    >>> encoder = TorchEncoder(two_layers, keep_columns=False)
    """

    factory: Factory
    _: KW_ONLY
    keep_columns: bool = True

    @property
    def strongest_preprocessing(self) -> str:  # type: ignore[override]
        """See `Encoder`."""
        return "standardize" if self.keep_columns else "whiten"

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> ModulePart:
        """Return the network h_m from `n_columns` inputs to `modality_dim` outputs."""
        if not callable(self.factory) or isinstance(self.factory, torch.nn.Module):
            raise ValueError(
                f"factory of the encoder of modality {name!r} is {self.factory!r}; pass a function of "
                "(n_columns, modality_dim) that returns a torch.nn.Module."
            )
        return ModulePart(part_name(name), n_columns, modality_dim, self.factory)


class ModulePart(Part):
    """A module as a pure function of its parameters, applied to all replicas at once.

    Each parameter becomes a named matrix: its first axis by all others. The module itself only serves for its function
    and what is not trained; it is not pickled but made again.
    """

    def __init__(self, name: str, n_inputs: int, n_outputs: int, factory: Factory):
        super().__init__(name, n_inputs, n_outputs)
        self.factory = factory
        self._load()
        self._options = (_identity(factory), tuple(self._parameters.items()))

    def _load(self) -> None:
        """Make the module, check it, and note its parameters' shapes and all that does not train."""
        module = self._make(0)
        _check_module(module, self.name, self.n_inputs, self.n_outputs)
        trained = {key: p for key, p in module.named_parameters() if p.requires_grad}
        if not trained:
            raise ValueError(f"the module of {self.name} has no parameters to train; give it at least one layer.")
        self._parameters = {key: tuple(p.shape) for key, p in trained.items()}
        self.shapes: Shapes = {f"{self.name}.{key}": _as_matrix(shape) for key, shape in self._parameters.items()}
        matrices = [key for key, shape in self._parameters.items() if len(shape) > 1]
        self.first_weight = f"{self.name}.{(matrices or list(self._parameters))[0]}"
        self._module = module
        self._fixed = {
            key: tensor.detach()
            for key, tensor in (*module.named_parameters(), *module.named_buffers())
            if key not in trained
        }
        first = {key: torch.stack([p.detach(), p.detach()]) for key, p in trained.items()}
        # Operations that cannot be batched over replicas run replica by replica.
        self._lock = threading.Lock()
        self._batched = _agree(self._over_replicas, self._replica_by_replica, first, _probe(2, 3, self.n_inputs))

    def _make(self, seed: int) -> nn.Module:
        """Return a module of the factory, its first weights drawn from `seed`."""
        with _seeded(seed):
            module = self.factory(self.n_inputs, self.n_outputs)
            if not isinstance(module, torch.nn.Module):
                raise ValueError(
                    f"the factory of {self.name} returned {type(module).__name__}; it must return a torch.nn.Module."
                )
            module = module.to("cpu", torch.float32).eval()
            with torch.no_grad():
                _run(module, _probe(3, self.n_inputs), self.name)  # lazy modules learn their shapes here
        return module

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return the factory's own first weights, drawn with a seed from the part's stream."""
        module = self._make(int(next(rngs).integers(2**63)))
        parameters = dict(module.named_parameters())
        return {
            f"{self.name}.{key}": parameters[key].detach().double().numpy().reshape(_as_matrix(shape))
            for key, shape in self._parameters.items()
        }

    def forward(self, views: Views, x: Tensor) -> Tensor:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs)."""
        parameters = {
            key: views[f"{self.name}.{key}"].reshape(len(x), *shape) for key, shape in self._parameters.items()
        }
        return self._over_replicas(parameters, x) if self._batched else self._replica_by_replica(parameters, x)

    def _over_replicas(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return the outputs of all replicas, computed at once."""
        return torch.vmap(self._single(x))(parameters, x)

    def _replica_by_replica(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return the same outputs, computed one replica after another."""
        single = self._single(x)
        return torch.stack([single({key: p[c] for key, p in parameters.items()}, x[c]) for c in range(len(x))])

    def _single(self, like: Tensor) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
        """Return the function of one replica's parameters and rows, on the device and of the type of `like`."""
        fixed = {key: t.to(like) if t.is_floating_point() else t.to(like.device) for key, t in self._fixed.items()}

        def single(parameters: Mapping[str, Tensor], rows: Tensor) -> Tensor:
            with self._lock:  # the module holds the parameters for as long as the call takes
                return torch.func.functional_call(self._module, {**fixed, **parameters}, (rows,))

        return single

    def __getstate__(self) -> dict[str, Any]:
        made_again = {"_module", "_fixed", "_batched", "_lock"}
        return {key: value for key, value in vars(self).items() if key not in made_again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        before = self._parameters
        self._load()
        if self._parameters != before:
            raise ValueError(
                f"the factory of {self.name} makes parameters of the shapes {self._parameters} now, but the model "
                f"was trained with {before}; restore the factory."
            )


def _as_matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape of a parameter's matrix: its first axis by all others."""
    rows = shape[0] if shape else 1
    return rows, int(np.prod(shape[1:], dtype=int))


def _identity(factory: Factory) -> Hashable:
    """Return a key that equal factories share: the hash of their pickle, or the factory itself where there is none."""
    try:
        return joblib.hash(factory)
    except Exception:  # a lambda, a closure
        return factory


# ------------------------------------------------------------------------------------ what a module may do


def _check_module(module: nn.Module, name: str, n_inputs: int, n_outputs: int) -> None:
    """Raise ValueError unless the module is a fixed function of each single row."""
    for key, child in module.named_modules():
        if isinstance(child, torch.nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"the module of {name} holds {type(child).__name__} ({key or 'itself'}), which mixes the rows of a "
                "batch and the statistics of clients; use LayerNorm or GroupNorm."
            )
    rows = _probe(3, n_inputs)
    with _seeded(1), torch.no_grad():
        out = _run(module, rows, name)
        if not isinstance(out, torch.Tensor) or out.shape != (3, n_outputs):
            got = f"shape {tuple(out.shape)}" if isinstance(out, torch.Tensor) else type(out).__name__
            raise ValueError(
                f"the module of {name} turns rows of shape (3, {n_inputs}) into {got}; it must give "
                f"(3, {n_outputs}), one code of modality_dim={n_outputs} entries a row."
            )
        if not torch.equal(_run(module, rows, name), out):
            raise ValueError(
                f"the module of {name} gives other codes at a second call; take out what draws random numbers "
                "(torch.nn.functional.dropout needs training=self.training) or changes its state."
            )
        row_by_row = torch.cat([_run(module, row, name) for row in rows.split(1)])
        if not torch.allclose(row_by_row, out, rtol=1e-3, atol=1e-4 * float(out.abs().max())):
            raise ValueError(
                f"the module of {name} gives a row another code when other rows stand beside it; it must treat "
                "each row by itself."
            )
        trained = copy.deepcopy(module).train()
        before = {key: buffer.clone() for key, buffer in trained.named_buffers()}
        _run(trained, rows, name)
        changed = [key for key, buffer in trained.named_buffers() if not torch.equal(buffer, before[key])]
    if changed:
        raise ValueError(
            f"the module of {name} changes its buffer {changed[0]!r} in training, which no server averages; "
            "use a layer without running state."
        )


def _run(module: nn.Module, rows: Tensor, name: str) -> Any:
    """Return what the module makes of the rows; raise ValueError where it fails."""
    try:
        return module(rows)
    except Exception as error:
        raise ValueError(f"the module of {name} fails on rows of shape {tuple(rows.shape)}: {error}") from error


def _agree(
    fast: Callable[..., Tensor], plain: Callable[..., Tensor], parameters: Mapping[str, Tensor], x: Tensor
) -> bool:
    """Return whether `fast` runs without error or warning and gives the values and gradients of `plain`."""

    def values_and_gradients(function: Callable[..., Tensor]) -> list[Tensor]:
        with torch.enable_grad():
            leaves = {key: p.clone().requires_grad_() for key, p in parameters.items()}
            out = function(leaves, x)
            gradients = torch.autograd.grad(out.square().sum(), list(leaves.values()), materialize_grads=True)
        return [out.detach(), *gradients]

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where it has no batching rule
        try:
            found = values_and_gradients(fast)
        except Exception:
            return False
    return all(
        torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()) + 1e-12)
        for a, b in zip(found, values_and_gradients(plain), strict=True)
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set torch's generator to `seed` for the block, and restore its state after it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _probe(*shape: int) -> Tensor:
    """Return random rows of some shape, on which to try a module."""
    return torch.as_tensor(np.random.default_rng(0).standard_normal(shape), dtype=torch.float32)
