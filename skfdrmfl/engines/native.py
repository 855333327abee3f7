"""The engine in C: clients trained one by one on several threads, and many rounds in the server's place in one call.

This module lays out for `native.c` what it reads, and takes what it writes; see docs/maintainers.md. What it does not
cover is left to the torch engine.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import c_double, c_int64, c_void_p
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.engines.base import Engine
from skfdrmfl.engines.chunk import OF_SERVER
from skfdrmfl.engines.native_structs import (
    MOST_LAYERS,
    MOST_MODALITIES,
    MOST_MODELS,
    MOST_ROWS,
    SETTINGS,
    TERMS,
    CBroadcast,
    CClients,
    CRounds,
)
from skfdrmfl.engines.packed_network import ENCODERS, PackedNetwork, layers_of
from skfdrmfl.method import objective
from skfdrmfl.method.fusion import AttentionFusion, ConcatFusion, GatedFusion, MeanFusion
from skfdrmfl.method.network import Network
from skfdrmfl.method.objective import term_names, uses
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.messages import Averaged, Broadcast, Update
from skfdrmfl.protocol.plan import TRAINING_DTYPE, ServerStep, Settings

# What may have been compiled of it, the best first. Tests add a build for float64.
NAMES = ("libnative_avx512.so", "libnative_avx2.so", "libnative.so")
LIBRARIES = {TRAINING_DTYPE: [Path(__file__).resolve().with_name(name) for name in NAMES]}
# More threads than this are not started: each takes memory of its own.
MOST_THREADS = 256
NOT_COMPILED = "has not been compiled for this machine: install a wheel, or from source where there is a C compiler"
# A call returns after about so many seconds, so that an interrupt is seen.
SECONDS = 0.1
# Memory for the parameters that clients return before they are averaged, and for what the rounds of a call leave.
BLOCK_BYTES = 8_000_000


@cache
def library(dtype: np.dtype = TRAINING_DTYPE) -> ctypes.CDLL | None:
    """Return what has been compiled of `native.c` for numbers of a type and this processor; None: nothing.

    What was compiled of another version, with other `TERMS` or `SETTINGS` or without the newest function, is none.
    """
    for path in LIBRARIES.get(dtype, []):
        try:
            found = ctypes.CDLL(str(path))
        except OSError:  # it is not there, or was compiled for another kind of machine
            continue
        known = (found.n_terms(), found.n_settings()) if hasattr(found, "few_rows") else None
        if known == (len(TERMS), len(SETTINGS)) and found.processor_can():
            return found
    return None


# Fits of the same rows share a network, and with it where its parameters stand.
packed_network = lru_cache(maxsize=8)(PackedNetwork)


def why_not(
    network: Network, device: str, history_size: int, sizes: Indices, settings: Sequence[Settings]
) -> str | None:
    """Return why these clients cannot train here, as the end of a sentence; None: they can."""
    n_layers = [len(layers_of(part)) for part in (*network.encoders.values(), network.head)]
    others = [name for name, part in network.encoders.items() if type(part) not in ENCODERS]
    known = OF_SERVER.union(SETTINGS)
    unknown = [name for s in settings for name, value in s.by_name().items() if value and name not in known]
    unknown += [term.name for term in objective.TERMS if term.weight is None and term.name not in TERMS]
    covered, fusion = (ConcatFusion, MeanFusion, GatedFusion, AttentionFusion), type(network.fusion)
    reasons = {
        f"trains on the processor, and device is {device!r}": device != "cpu",
        f"does not cover the fusion {fusion.__name__}": fusion not in covered,
        "covers alignment='homoscedastic' alone": network.alignment != "homoscedastic",
        "covers dense, linear, convolutional and categorical encoders, and that of modality "
        f"{''.join(others[:1])!r} is another": others,
        f"covers at most {MOST_MODALITIES} modalities and {MOST_LAYERS} layers": len(network.encoders) > MOST_MODALITIES
        or max(n_layers) > MOST_LAYERS,
        f"covers history_size up to {MOST_MODELS - 1}": history_size >= MOST_MODELS,
        f"covers up to {MOST_ROWS - 1:,} rows a client": sizes.max(initial=0) >= MOST_ROWS,
        f"does not know {''.join(unknown[:1])!r}": unknown,
        NOT_COMPILED: library() is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class ServerMemory:
    """What an algorithm keeps, as `native.c` reads and writes it: before round t of a call in slot t % n_slots."""

    def __init__(self, net: PackedNetwork, step: ServerStep, memory: AlgorithmState, n_slots: int, dtype: np.dtype):
        self._net, self._memory, self._n_slots = net, memory, n_slots
        self._moments, self._controls, self._steps = None, None, np.zeros(0)
        if step.adam:
            moments = np.stack([memory.server[name] for name in ("first", "second")])  # (2, runs, D)
            self._moments = self._slots(moments.astype(dtype))
            # Files of before count steps parameter by parameter.
            self._steps = memory.server["steps"].reshape(len(moments[0]), -1).max(1).astype(np.float64)
        if step.controls:
            self._controls = self._slots(memory.clients["control"].astype(dtype))

    def _slots(self, before: NDArray) -> NDArray:
        packed = self._net.packed(before)
        slots = np.zeros((self._n_slots, *packed.shape), packed.dtype)
        slots[0] = packed
        return slots

    def pointers(self) -> tuple[int | None, ...]:
        """Return what of it stands in `CRounds`."""
        return self._n_slots, *map(_pointer, (self._moments, self._controls, self._steps))

    def after(self, n_rounds: int) -> AlgorithmState:
        """Return it after some rounds of the call."""
        server, clients, slot = dict(self._memory.server), dict(self._memory.clients), n_rounds % self._n_slots
        if self._moments is not None:
            server["first"], server["second"] = self._net.unpacked(self._moments[slot])
            server["steps"] = self._steps + n_rounds
        if self._controls is not None:
            clients["control"] = self._net.unpacked(self._controls[slot])
        return AlgorithmState(server, clients)


class NativeEngine(Engine):
    """Every client by itself, in C, on several threads; bits depend on no other client and on no number of threads."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rows, cohort = self.rows, self.cohort
        self._dtype = rows.x.dtype
        found = library(self._dtype)
        if found is None:
            raise ValueError(f"engine='native' has not been compiled for {self._dtype} and this machine.")
        self._library = found
        self._net = packed_network(self.network, found.step_of_rows(), found.few_rows())
        self._n_threads = max(1, min(self.n_threads, len(cohort.runs), MOST_THREADS))
        settings = np.array([list(map(s.by_name().__getitem__, SETTINGS)) for s in cohort.settings])
        self._arrays: dict[str, NDArray] = {
            "x": np.ascontiguousarray(rows.x),
            "y": np.ascontiguousarray(rows.y),
            "rows": _whole(rows.rows),
            "offsets": _whole(rows.offsets),
            "runs": _whole(cohort.runs),
            "seeds": np.ascontiguousarray(cohort.seeds, dtype=np.uint64),
            "positions": np.ascontiguousarray(cohort.positions, dtype=np.uint64),
            "settings": settings,
        }
        if rows.present is not None:
            self._arrays["present"] = np.ascontiguousarray(rows.present, dtype=np.uint8)
        self._clients = CClients(
            **{name: array.ctypes.data for name, array in self._arrays.items()},
            batch_size=self.batch_size,
            n_epochs=self.n_epochs,
            trains=self.client_task.sends_parameters,
            n_runs=cohort.n_runs,
        )
        self._contrasts = self.keep_history and any(uses(s.terms, "references") for s in cohort.settings)

    def run_round(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Train every participant from the broadcast weights; yield updates block by block."""
        struct = self._broadcast(broadcast)
        self._make_room_for_references(struct.n_models)
        shift = None if broadcast.shift is None else self._net.packed(np.asarray(broadcast.shift, self._dtype))
        if shift is not None:
            struct.shift = _pointer(shift)
        for replicas in np.array_split(_whole(participants), -(-len(participants) // self._n_block())):
            n = len(replicas)
            weights = np.empty((n, self._net.size), self._dtype)
            sums = np.empty_like(weights) if self._sums_gradients else None
            terms = np.empty((n, len(TERMS)))
            self._call(
                "train_clients",
                struct,
                c_int64(len(self.cohort.runs)),
                c_void_p(_pointer(replicas)),
                c_int64(n),
                *(c_void_p(_pointer(array)) for array in (weights, sums, terms)),
            )
            losses = _in_table_order(terms).astype(self._dtype)
            gradients = None if sums is None else self._net.unpacked(sums)
            if gradients is not None and not self.client_task.sends_parameters:
                yield Update(replicas, gradients, losses)
            else:
                yield Update(replicas, self._net.unpacked(weights), losses, gradients)

    def average_rounds(
        self,
        invited: Iterator[Indices],
        broadcast: Broadcast,
        rate_factors: Sequence[float],
        step: ServerStep,
        memory: AlgorithmState,
        *,
        history_size: int,
        each_round: bool,
    ) -> Iterator[Averaged]:
        """Go through rounds in the server's place, a block of them a call; see `door.Training.average_rounds`."""
        n_replicas, n_runs, size = len(self.cohort.runs), self.cohort.n_runs, self._net.size
        self._make_room_for_references(history_size + 1)
        n_kept = 2 * n_runs * step.adam + n_replicas * step.controls if each_round else 0
        bytes_of_round = (n_runs + n_kept) * size * self._dtype.itemsize + n_replicas * (len(TERMS) + 1) * 8
        most = max(1, BLOCK_BYTES // bytes_of_round)
        first, weights = 0, np.zeros(0)
        while mine := list(islice(invited, most)):
            n = len(mine)
            if first:  # the models after a block of rounds are sent out in the next
                models = self._net.unpacked(weights[-history_size - 1 :])
                history = (*reversed(models[:-1]), broadcast.weights, *broadcast.history)[:history_size]
                broadcast = Broadcast(models[-1], tuple(history), broadcast.round_index + len(weights), 1.0)
            struct = self._broadcast(broadcast)
            participants = _whole(np.concatenate(mine))
            starts = np.cumsum([0, *map(len, mine)])
            factors = np.array(rate_factors[first : first + n], dtype=np.float64)
            weights = np.empty((n, n_runs, size), self._dtype)
            # Of who takes no part nothing is written, nor read: nobody goes through all replicas.
            terms, of_moved = np.empty((n, n_replicas, len(TERMS))), np.empty((n, n_replicas))
            of_steps = np.zeros((n, n_runs))
            n_block = max(1, min(int(np.diff(starts).max()), self._n_block()))
            block = np.empty((n_block, size), self._dtype)
            sums = np.empty_like(block) if self._sums_gradients else None
            kept = ServerMemory(self._net, step, memory, 1 + (n if each_round else 1), self._dtype)
            arrays: list[NDArray] = [participants, starts, factors, weights, terms, of_moved, of_steps]
            answers = n_block, _pointer(block), _pointer(sums)
            rounds = CRounds(n, n_replicas, history_size, *map(_pointer, arrays), *answers, *kept.pointers())
            done = 0
            while done < n and not rounds.hit_nonfinite:
                self._call("train_rounds", struct, ctypes.byref(rounds), c_double(SECONDS))
                ends = range(done + 1, rounds.round + 1)
                for end in ends if each_round else ends[-1:]:
                    passed = slice(done, end)
                    rounds_of = np.repeat(np.arange(done, end), np.diff(starts[done : end + 1]))
                    told_by = rounds_of, participants[starts[done] : starts[end]]
                    # Bits: see docs/maintainers.md, "float32's digits".
                    with np.errstate(over="ignore"):  # of a run that is about to diverge
                        moved, steps = of_moved[told_by].astype(np.float32), of_steps[passed].astype(np.float32)
                        losses = _in_table_order(terms[told_by]).astype(self._dtype)
                    models = self._net.unpacked(weights[passed][-history_size - 1 :])
                    memory, done = kept.after(end), end
                    yield Averaged(mine[passed], models, losses, moved, steps, memory)
            if rounds.hit_nonfinite:
                return
            first += n

    def _n_block(self) -> int:
        """Return how many clients train before their parameters are taken."""
        return max(2 * self._n_threads, BLOCK_BYTES // (self._net.size * self._dtype.itemsize))

    def _broadcast(self, broadcast: Broadcast) -> CBroadcast:
        """Return what is sent out."""
        history = broadcast.history if self.keep_history else ()
        models = [self._net.packed(np.asarray(model, self._dtype)) for model in (broadcast.weights, *history)]
        struct = CBroadcast(n_models=len(models), round_index=broadcast.round_index, rate_factor=broadcast.rate_factor)
        for i, model in enumerate(models):
            struct.models[i] = _pointer(model)
        struct.kept = models  # as long as what points to them
        return struct

    def _call(self, name: str, broadcast: CBroadcast, *arguments: object) -> None:
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
            self._references = np.empty(shape, dtype=self._dtype)
            self._reference_round = np.full(len(self.cohort.runs), -1)
            self._clients.references = _pointer(self._references)
            self._clients.reference_round = _pointer(self._reference_round)
            self._clients.n_models = n_models


def _in_table_order(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the `TERMS` (..., n) as `term_names`; those that `native.c` does not know are zero."""
    names = term_names()
    if names == TERMS:
        return terms
    unknown = np.zeros(terms.shape[:-1])
    return np.stack([terms[..., TERMS.index(name)] if name in TERMS else unknown for name in names], -1)


def _pointer(array: NDArray | None) -> int | None:
    """Return where an array begins, which must be kept as long as that is used."""
    return None if array is None else array.ctypes.data


def _whole(values: NDArray) -> Indices:
    """Return whole numbers as an array that C can read."""
    return np.ascontiguousarray(values, dtype=np.int64)
