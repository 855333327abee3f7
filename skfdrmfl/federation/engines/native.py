"""The engine in C: clients trained one by one on several threads, and whole rounds of averaging in one call.

This module lays out for `native.c` what it reads, and takes what it writes; see docs/maintainers.md. What it does not
cover is left to the stacked engine.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import POINTER, Structure, c_double, c_int64, c_void_p
from functools import cache
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Indices
from skfdrmfl.federation.engines.chunk import TRAIN, batches_of
from skfdrmfl.federation.engines.loop import LoopEngine
from skfdrmfl.federation.engines.rows import TrainingRows
from skfdrmfl.federation.messages import Averaged, Broadcast, Update
from skfdrmfl.federation.runs import Orders
from skfdrmfl.model.alignment import HomoscedasticAlignment
from skfdrmfl.model.fusion import ConcatFusion
from skfdrmfl.model.mlp import MLP
from skfdrmfl.model.network import Network
from skfdrmfl.model.objective import TERMS

# Limits of `native.c`.
LANES, MOST_LAYERS, MOST_MODALITIES, MOST_MODELS, MOST_ROWS = 16, 16, 64, 64, 1 << 24
# What may have been compiled of it, the best first. Tests add a build for float64.
NAMES = ("libnative_avx512.so", "libnative_avx2.so", "libnative.so")
LIBRARIES = {torch.float32: [Path(__file__).resolve().with_name(name) for name in NAMES]}
# More threads than this are not started: each takes memory of its own.
MOST_THREADS = 256
# A call returns after about so many seconds, so that an interrupt is seen.
SECONDS = 0.4
# Memory for the parameters that clients return before they are averaged, and for what the rounds of a call leave.
BLOCK_BYTES = 8_000_000


class _Layer(Structure):
    _fields_ = [(name, c_int64) for name in ("n_in", "n_out", "ld", "weight", "bias")]


class _Part(Structure):
    _fields_ = [("n_layers", c_int64), ("has_skip", c_int64), ("n_out", c_int64), ("layers", POINTER(_Layer))]


class _Network(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("n_modalities", "d", "c", "q", "n_parameters", "n_columns", "x_ld")),
        ("columns", c_void_p),
        ("parts", POINTER(_Part)),
    ]


# Those of `Settings` that clients read, in the order of `native.c`.
SETTINGS = (
    *("learning_rate", "weight_decay", "input_l1", "mi_weight", "kl_weight", "contrastive_weight", "temperature"),
    *("modality_dropout", "proximal_weight"),
)


class _Clients(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("x", "y", "present", "rows", "offsets", "runs", "seeds", "positions")),
        ("settings", c_void_p),
        *((name, c_int64) for name in ("batch_size", "n_epochs", "trains", "n_runs")),
        ("references", c_void_p),
        ("reference_round", c_void_p),
        ("n_models", c_int64),
    ]


class _Broadcast(Structure):
    _fields_ = [
        ("models", c_void_p * MOST_MODELS),
        ("n_models", c_int64),
        ("round_index", c_int64),
        ("rate_factor", c_double),
        ("shift", c_void_p),
    ]


class _Rounds(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("n_rounds", "n_replicas", "history_size")),
        *(
            (name, c_void_p)
            for name in ("participants", "starts", "rate_factors", "weights", "terms", "moved", "steps")
        ),
        ("n_block", c_int64),
        ("block", c_void_p),
        *((name, c_int64) for name in ("round", "n_answered", "is_odd")),
    ]


@cache
def library(dtype: torch.dtype = torch.float32) -> ctypes.CDLL | None:
    """Return what has been compiled of `native.c` for numbers of a type and this processor; None: nothing."""
    for path in LIBRARIES.get(dtype, []):
        try:
            found = ctypes.CDLL(str(path))
        except OSError:  # it is not there, or was compiled for another kind of machine
            continue
        if found.processor_can():
            return found
    return None


def why_not(network: Network, device: torch.device, history_size: int, sizes: Indices) -> str | None:
    """Return why these clients cannot train here, as the end of a sentence; None: they can."""
    if device.type != "cpu":
        return f"trains on the processor, and device is {str(device)!r}"
    if type(network.fusion) is not ConcatFusion:
        return "covers fusion='concat' alone"
    if not isinstance(network.alignment, HomoscedasticAlignment):
        return "covers alignment='homoscedastic' alone"
    for name, part in network.encoders.items():
        if type(part) is not MLP:
            return f"covers dense and linear encoders of numbers, and that of modality {name!r} is another"
    parts = [part for part in (*network.encoders.values(), network.head) if isinstance(part, MLP)]
    if len(network.encoders) > MOST_MODALITIES or any(len(part.hidden) >= MOST_LAYERS for part in parts):
        return f"covers at most {MOST_MODALITIES} modalities and {MOST_LAYERS} layers"
    if history_size >= MOST_MODELS:
        return f"covers history_size up to {MOST_MODELS - 1}"
    if sizes.max(initial=0) >= MOST_ROWS:
        return f"covers up to {MOST_ROWS - 1:,} rows a client"
    if library() is None:
        return "has not been compiled for this machine: install a wheel, or from source where there is a C compiler"
    return None


def _rounded(n: int) -> int:
    return -(-n // LANES) * LANES


class PackedNetwork:
    """The network as `native.c` reads it, and where each parameter of the flat vector stands there.

    Attributes
    ----------
    struct : ctypes.Structure
    size : int
        Numbers of a client's parameters there: rows of matrices are padded with zeros.
    """

    def __init__(self, network: Network):
        parts: list[MLP] = [*network.encoders.values(), network.mixer, network.head, network.critic]  # type: ignore[list-item]
        self._layers = []  # kept: the structures point to them
        structs = []
        index = np.full(network.layout.size, -1)
        size = 0
        for part in parts:
            layers = (_Layer * (len(part.hidden) + 1))()
            for i, layer in enumerate(layers):
                weight, bias = f"{part.name}.weight{i}", f"{part.name}.bias{i}"
                n_out, n_in = network.layout.shapes[weight]
                layer.n_in, layer.n_out, layer.ld = n_in, n_out, _rounded(n_in)
                layer.weight, layer.bias = size, size + n_out * layer.ld
                place = size + np.arange(n_out)[:, None] * layer.ld + np.arange(n_in)
                index[network.layout.offsets[weight] :][: n_out * n_in] = place.ravel()
                index[network.layout.offsets[bias] :][:n_out] = layer.bias + np.arange(n_out)
                size = layer.bias + _rounded(n_out)
            self._layers.append(layers)
            structs.append(_Part(len(layers), part.skip, part.n_outputs, layers))
        self.size = size + LANES  # the last of these stay zero: the gaps of the flat vector
        index[index < 0] = size
        self._index = torch.from_numpy(index)
        widths = [_rounded(encoder.n_inputs) for encoder in network.encoders.values()]
        self.columns = np.cumsum([0, *widths])
        self._parts = (_Part * len(structs))(*structs)
        self.struct = _Network(
            len(widths),
            network.modality_dim,
            network.n_components,
            network.n_outputs,
            self.size,
            network.n_columns,
            int(self.columns[-1]),
            self.columns.ctypes.data,
            self._parts,
        )

    def packed(self, flat: Tensor) -> Tensor:
        """Return parameters (..., D) as they stand there (..., size), contiguous."""
        out = flat.new_zeros(*flat.shape[:-1], self.size)
        out[..., self._index] = flat
        return out

    def unpacked(self, packed: Tensor) -> Tensor:
        """Return the inverse of `packed`."""
        return packed.index_select(-1, self._index)


class NativeEngine:
    """Every client by itself, in C, on several threads; bits depend on no other client and on no number of threads."""

    has_threads: ClassVar[bool] = True
    company = staticmethod(LoopEngine.company)  # each client by itself

    def __init__(
        self,
        network: Network,
        rows: TrainingRows,
        *,
        batch_size: int,
        n_epochs: int,
        keep_history: bool = True,
        orders: Orders = TRAIN,
        n_threads: int = 1,
    ):
        self.network, self.rows, self.cohort = network, rows, rows.cohort
        self._dtype: torch.dtype = rows.x.dtype
        found = library(self._dtype)
        if found is None:
            raise ValueError(f"engine='native' has not been compiled for {self._dtype} and this machine.")
        self._library = found
        self._orders, self._keeps_history = orders, keep_history
        self._net = PackedNetwork(network)
        self._n_threads = max(1, min(n_threads, len(rows.cohort.runs), MOST_THREADS))
        batch_size, n_epochs = batches_of(orders, network, rows.cohort.sizes, batch_size, n_epochs)
        cohort = rows.cohort
        settings = np.array([[getattr(s, name) for name in SETTINGS] for s in cohort.settings])
        self._arrays: dict[str, NDArray] = {
            "x": rows.x.contiguous().numpy(),
            "y": rows.y.contiguous().numpy(),
            "rows": _whole(rows.rows),
            "offsets": _whole(rows.offsets),
            "runs": _whole(cohort.runs),
            "seeds": np.ascontiguousarray(cohort.seeds, dtype=np.uint64),
            "positions": np.ascontiguousarray(cohort.positions, dtype=np.uint64),
            "settings": settings,
        }
        if rows.present is not None:
            self._arrays["present"] = np.ascontiguousarray(rows.present, dtype=np.uint8)
        self._clients = _Clients(
            **{name: array.ctypes.data for name, array in self._arrays.items()},
            batch_size=batch_size,
            n_epochs=n_epochs,
            trains=orders.trains,
            n_runs=cohort.n_runs,
        )
        self._contrasts = keep_history and bool(settings[:, SETTINGS.index("contrastive_weight")].any())

    def run_round(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Train every participant from the broadcast weights; yield updates block by block."""
        struct = self._broadcast(broadcast)
        self._make_room_for_references(struct.n_models)
        shift = None if broadcast.shift is None else self._net.packed(broadcast.shift.to(self._dtype))
        if shift is not None:
            struct.shift = shift.data_ptr()
        summed = self._orders.gradients or not self._orders.trains
        for replicas in np.array_split(_whole(participants), -(-len(participants) // self._n_block())):
            n = len(replicas)
            weights = torch.empty(n, self._net.size, dtype=self._dtype)
            sums = torch.empty_like(weights) if summed else None
            terms = np.empty((n, len(TERMS)))
            self._call(
                "train_clients",
                struct,
                c_int64(len(self.cohort.runs)),
                c_void_p(_pointer(replicas)),
                c_int64(n),
                *(c_void_p(_pointer(array)) for array in (weights, sums, terms)),
            )
            losses = torch.from_numpy(terms).to(self._dtype)
            gradients = None if sums is None else self._net.unpacked(sums)
            if gradients is not None and not self._orders.trains:
                yield Update(replicas, gradients, losses)
            else:
                yield Update(replicas, self._net.unpacked(weights), losses, gradients)

    def average_rounds(
        self, invited: Iterator[Indices], broadcast: Broadcast, rate_factors: Sequence[float], history_size: int
    ) -> Iterator[Averaged]:
        """Go through rounds of federated averaging, yielding each; see `door.Training.average_rounds`."""
        n_replicas, n_runs, size = len(self.cohort.runs), self.cohort.n_runs, self._net.size
        self._make_room_for_references(history_size + 1)
        bytes_of_round = n_runs * size * self.rows.x.element_size() + n_replicas * (len(TERMS) + 1) * 8
        most = max(1, BLOCK_BYTES // bytes_of_round)
        first = 0
        while mine := list(islice(invited, most)):
            n = len(mine)
            struct = self._broadcast(broadcast)
            participants = _whole(np.concatenate(mine))
            starts = np.cumsum([0, *map(len, mine)])
            factors = np.array(rate_factors[first : first + n], dtype=np.float64)
            weights = torch.empty(n, n_runs, size, dtype=self._dtype)
            terms = np.full((n, n_replicas, len(TERMS)), np.nan)
            of_moved, of_steps = np.full((n, n_replicas), np.nan), np.zeros((n, n_runs))
            n_block = min(int(np.diff(starts).max()), self._n_block())
            block = torch.empty(max(1, n_block), size, dtype=self._dtype)
            arrays: list[NDArray | Tensor] = [participants, starts, factors, weights, terms, of_moved, of_steps]
            rounds = _Rounds(n, n_replicas, history_size, *map(_pointer, arrays), n_block, _pointer(block))
            done = 0
            while True:
                self._call("train_rounds", struct, ctypes.byref(rounds), c_double(SECONDS))
                models = self._net.unpacked(weights[done : rounds.round])
                # Bits: see docs/maintainers.md, "float32's digits".
                with np.errstate(over="ignore"):  # of a run that is about to diverge
                    moved, steps = of_moved.astype(np.float32), of_steps.astype(np.float32)
                    losses = terms.astype(self._arrays["x"].dtype)
                for t in range(done, rounds.round):
                    yield Averaged(mine[t], models[t - done], losses[t], moved[t], steps[t])
                done = rounds.round
                if rounds.is_odd:
                    return
                if done == n:
                    break
            first += n
            models = self._net.unpacked(weights)
            history = (*reversed(models[-history_size - 1 : -1]), broadcast.weights, *broadcast.history)[:history_size]
            broadcast = Broadcast(models[-1], tuple(history), broadcast.round_index + n, 1.0)

    def _n_block(self) -> int:
        """Return how many clients train before their parameters are taken."""
        return max(2 * self._n_threads, BLOCK_BYTES // (self._net.size * self.rows.x.element_size()))

    def _broadcast(self, broadcast: Broadcast) -> _Broadcast:
        """Return what is sent out."""
        history = broadcast.history if self._keeps_history else ()
        models = [self._net.packed(model.to(self._dtype)) for model in (broadcast.weights, *history)]
        struct = _Broadcast(n_models=len(models), round_index=broadcast.round_index, rate_factor=broadcast.rate_factor)
        for i, model in enumerate(models):
            struct.models[i] = model.data_ptr()
        struct.kept = models  # as long as what points to them
        return struct

    def _call(self, name: str, broadcast: _Broadcast, *arguments: object) -> None:
        """Call a function of the library; it does not hold the interpreter's lock."""
        function = getattr(self._library, name)
        threads = c_int64(self._n_threads)
        network, clients = ctypes.byref(self._net.struct), ctypes.byref(self._clients)
        if function(network, clients, ctypes.byref(broadcast), *arguments, threads) < 0:
            raise MemoryError("there is no memory for training with engine='native'.")

    def _make_room_for_references(self, n_models: int) -> None:
        """Have room for each row's Z under so many models; what is there already stays only where there is room."""
        if self._contrasts and n_models > self._clients.n_models:
            shape = (len(self.rows.rows), n_models, self.network.n_components)
            self._references = np.empty(shape, dtype=self._arrays["x"].dtype)
            self._reference_round = np.full(len(self.cohort.runs), -1)
            self._clients.references = _pointer(self._references)
            self._clients.reference_round = _pointer(self._reference_round)
            self._clients.n_models = n_models


def _pointer(array: NDArray | Tensor | None) -> int | None:
    """Return where an array begins, which must be kept as long as that is used."""
    if array is None:
        return None
    return array.data_ptr() if isinstance(array, Tensor) else array.ctypes.data


def _whole(values: NDArray) -> Indices:
    """Return whole numbers as an array that C can read."""
    return np.ascontiguousarray(values, dtype=np.int64)
