"""Small problems that the law tests share, and the objective written out once more, in other words."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from oracles.loop import LoopEngine
from torch.distributions import Normal, kl_divergence
from torch.nn import functional
from torch.optim.adamw import adamw

from skfdrmfl.clients.client_data import ClientData
from skfdrmfl.clients.simulation import LocalTraining, Simulation
from skfdrmfl.compare import _compare as compare_module
from skfdrmfl.data.held_out import Split, check_held_out
from skfdrmfl.data.partition import Partition, within
from skfdrmfl.data.transforms import BlockSpectrum, BlockTransform, TableTransform
from skfdrmfl.engines import ENGINES as ALL_ENGINES
from skfdrmfl.engines import native
from skfdrmfl.engines.rows import Run, stack
from skfdrmfl.method import evaluate as method
from skfdrmfl.method.fusion import FUSIONS
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.network import Network
from skfdrmfl.method.objective import term_names
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.messages import Broadcast
from skfdrmfl.protocol.plan import Inputs, Schedule, Settings, Start
from skfdrmfl.protocol.queries import whitening
from skfdrmfl.protocol.queries.whitening import fit_blocks, whitened
from skfdrmfl.server.training import train
from skfdrmfl.server.training_ledger import TrainingLedger

FLOAT = torch.float64


@contextmanager
def trained_by_the_loop():
    """Let the loop train whatever the torch engine would."""
    with patch.dict(ALL_ENGINES, torch=LoopEngine):
        yield


# The oracle of all engines, by the name of an engine.
ALL_ENGINES["loop"] = LoopEngine
# The engines that can train in float64 here: without a C compiler, not the native one.
ENGINES = {
    name: e for name, e in ALL_ENGINES.items() if name != "native" or native.library(np.dtype(np.float64)) is not None
}


def few_rivals(patch, *kept):
    """Let comparisons be with these rivals alone, where they are not about rivals: dozens take seconds."""
    for name in ("reductions", "regressions"):
        whole = getattr(compare_module, name)
        patch.setattr(compare_module, name, lambda *args, whole=whole: (r for r in whole(*args) if r.name in kept))


def drawn_of_one(patch, method):
    """Let figures of comparisons show this method alone, where they are not about figures."""
    whole = compare_module.Comparison.plot
    patch.setattr(compare_module.Comparison, "plot", lambda self, **more: whole(self, **{"names": [method]} | more))


def undrawn(patch):
    """Let figures be made but not be drawn into files, where what stands beside them is looked at."""
    patch.setattr("matplotlib.figure.Figure.savefig", lambda self, file, **_: file.write(b"PNG"))


class AdamW:
    """torch.optim.AdamW of one array, by torch's function: the class imports torch._dynamo, seconds in each process."""

    def __init__(self, w, lr, weight_decay):
        self.w, self.lr, self.weight_decay = w, lr, weight_decay
        self.first, self.second, self.n_steps = torch.zeros_like(w), torch.zeros_like(w), torch.zeros(())

    @torch.no_grad()
    def step(self):
        """Go a step along the gradient of the array, which is forgotten."""
        rates = {"lr": self.lr, "weight_decay": self.weight_decay, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
        state = ([self.first], [self.second], [], [self.n_steps])
        adamw([self.w], [self.w.grad], *state, amsgrad=False, maximize=False, **rates)
        self.w.grad = None


def normal(seed, *shape):
    """Standard normal float64 tensor of its own stream."""
    return torch.as_tensor(np.random.default_rng(seed).standard_normal(shape))


def make_network(
    columns=(3, 2),
    *,
    c=2,
    d=3,
    q=1,
    hidden=(4,),
    head_hidden=(),
    fusion="concat",
    skip=True,
    names="abcdef",
    alignment="homoscedastic",
):
    """A network of one dense encoder a block of `columns`."""
    encoders = {
        name: MLP(name, p, hidden, d, skip=skip) for name, p in zip(names[: len(columns)], columns, strict=True)
    }
    sizes = {"modality_dim": d, "n_components": c, "n_outputs": q}
    return Network(encoders, FUSIONS[fusion](), **sizes, head_hidden=head_hidden, alignment=alignment)


def gradients(function, *inputs):
    """Autograd's derivatives of the sum of a function's values by each of its inputs."""
    inputs = [i.detach().clone().requires_grad_() for i in inputs]
    total = function(*inputs).sum()
    if not total.requires_grad:
        return tuple(torch.zeros_like(i) for i in inputs)
    return torch.autograd.grad(total, inputs, materialize_grads=True)


def random_weights(network, n, seed=0, scale=0.5):
    """Flat parameters (n, D), every array Gaussian, the entries between arrays zero."""
    flat = torch.zeros(n, network.layout.size, dtype=FLOAT)
    rng = np.random.default_rng(seed)
    for view in network.layout.views(flat).values():
        view.copy_(torch.as_tensor(scale * rng.standard_normal(view.shape)))
    return flat


def make_settings(**changes):
    """Settings with all four terms on."""
    values = {
        "learning_rate": 0.01,
        "weight_decay": 0.3,
        "input_l1": 0.0,
    }
    terms = {"mi_weight": 0.2, "kl_weight": 0.1, "contrastive_weight": 0.3, "temperature": 0.5}
    of_terms = {name: changes.pop(name, value) for name, value in terms.items()}
    return Settings(**(values | changes), terms=of_terms)


def make_run(network, sizes, *, seed=0, n_history=0, positions=None, **settings):
    """One federation of Gaussian rows; rows of a client are scattered over the table."""
    n = int(np.sum(sizes))
    rng = np.random.default_rng([seed, 77])
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    partition = Partition.of_codes(codes)
    if positions is not None:
        partition = Partition(np.asarray(positions), partition.rows)
    models = random_weights(network, 1 + n_history, seed=seed + 1)
    x = normal([seed, 1], n, network.n_columns)
    y = x[:, :1].tanh() + 0.3 * normal([seed, 2], n, network.n_outputs)
    return Run(x, y, partition, make_settings(**settings), seed, Start(models[0], tuple(models[1:])))


def in_float32(run):
    """The run with rows and models in float32."""
    start = replace(run.start, weights=run.start.weights.float(), history=tuple(h.float() for h in run.start.history))
    return replace(run, x=run.x.float(), y=run.y.float(), start=start)


def run_round(engine, network, runs, *, participants=None, batch_size=4, n_epochs=1, round_index=0, rate_factor=1.0):
    """One round of `engine`: parameters (R, D) and a dict of losses (R,), NaN for absentees."""
    rows = stack(runs)
    backend = ENGINES[engine](network, rows, batch_size=batch_size, n_epochs=n_epochs)
    n = len(rows.cohort.runs)
    participants = np.arange(n) if participants is None else np.asarray(participants)
    history = tuple(torch.stack(models) for models in zip(*(run.start.history for run in runs), strict=True))
    broadcast = Broadcast(torch.stack([run.start.weights for run in runs]), history, round_index, rate_factor)
    weights = torch.full((n, network.layout.size), torch.nan, dtype=runs[0].x.dtype)
    losses = None
    for update in sent_by(backend, participants, broadcast):
        if losses is None:
            losses = {term: torch.full((n,), torch.nan, dtype=runs[0].x.dtype) for term in term_names()}
        assert weights[update.replicas].isnan().all(), "a client returned two updates"
        weights[update.replicas] = update.weights
        for term, values in zip(term_names(), update.losses.unbind(-1), strict=True):
            losses[term][update.replicas] = values
    return weights, losses


def sent_by(backend, participants, broadcast):
    """What an engine yields in a round, as tensors."""
    for update in backend.run_round(participants, broadcast):
        gradients = None if update.gradients is None else tensor(update.gradients)
        yield replace(update, weights=tensor(update.weights), losses=tensor(update.losses), gradients=gradients)


def evaluate(network, arrays, x, present=None):
    """Z and predictions of rows that are a tensor."""
    return method.evaluate(network, arrays, x.numpy(), present)


def start_of(run):
    """Where a run begins, its models as the server has them."""
    start = run.start
    return replace(start, weights=np.asarray(start.weights), history=tuple(map(np.asarray, start.history)))


@dataclass
class Together:
    """Where several runs stand, side by side: models as tensors (runs, D), records of all replicas (rounds, R, ...)."""

    stands: tuple

    @property
    def n_rounds(self):
        return max(trained.n_rounds for trained in self.stands)

    @property
    def state(self):
        states = [trained.state for trained in self.stands]
        memories = [state.memory for state in states]
        server = {name: tensor(np.stack([m.server[name] for m in memories])) for name in memories[0].server}
        clients = {name: tensor(np.concatenate([m.clients[name] for m in memories])) for name in memories[0].clients}
        history = zip(*(state.history for state in states), strict=False)
        return SimpleNamespace(
            weights=tensor(np.stack([state.weights for state in states])),
            history=tuple(tensor(np.stack(models)) for models in history),
            round_index=states[0].round_index,
            memory=SimpleNamespace(server=server, clients=clients),
        )

    @property
    def diverged(self):
        return np.array([trained.diverged for trained in self.stands])

    def recorded(self, name, filled=np.nan):
        """What is recorded of all replicas under a name, filled up after the end of a run."""
        parts = [recorded(trained.record, name) for trained in self.stands]
        return np.concatenate(
            [
                np.pad(part, [(0, self.n_rounds - len(part)), *[(0, 0)] * (part.ndim - 1)], constant_values=filled)
                for part in parts
            ],
            axis=1,
        )

    losses = property(lambda self: self.recorded("losses"))
    dropped = property(lambda self: self.recorded("dropped", False))
    validation_of_each = property(lambda self: self.recorded("validation_of_each"))

    def models_of(self, run):
        return tensor(self.stands[run].models)

    def memory_of(self, run):
        memory = self.stands[run].memory
        return SimpleNamespace(
            server={name: tensor(array) for name, array in memory.server.items()},
            clients={name: tensor(array) for name, array in memory.clients.items()},
        )

    def record_of(self, run):
        return self.stands[run].record


def recorded(record, name):
    """What is recorded of each round and client under a name, as a table."""
    record = record.joined
    if name == "losses":
        return np.stack([record.reports.table(i, len(record.sizes)) for i in range(record.reports.values.shape[1])], -1)
    if name == "dropped":
        table = np.zeros((record.n_rounds, len(record.sizes)), dtype=bool)
        for t, place in () if record.dropped is None else record.dropped:
            table[t, place] = True
        return table
    return getattr(record, name)


class AfterRound(Together):
    """The same, of its last round alone."""

    losses = property(lambda self: self.recorded("losses")[-1])


def tensor(array):
    """A tensor with the numbers of an array."""
    return torch.as_tensor(np.array(array))


def run_of(fitting):
    """The prepared rows of a fit in one memory."""
    (run,) = fitting.federation.runs(fitting.plan)
    return run


def train_together(network, runs, schedule, engine, *, change=None, resume=None, kind=Together):
    """Where several runs that train together stand after each round; `change` may put something before the clients."""
    training = LocalTraining(network, runs, schedule, engine)
    training = training if change is None else change(training)
    starts = [start_of(run) for run in runs]
    return map(kind, train(training, network, starts, schedule, None if resume is None else resume.stands))


def federate(
    engine,
    network,
    runs,
    rate_factors,
    *,
    batch_size=4,
    n_epochs=1,
    participation=1.0,
    history_size=2,
    algorithm="fedavg",
):
    """Where some rounds of all runs together lead, one a rate factor."""
    schedule = Schedule(tuple(rate_factors), n_epochs, batch_size, participation, history_size, algorithm=algorithm)
    return list(train_together(network, runs, schedule, engine, kind=AfterRound))


def before_rounds(patch, act):
    """Let `act(t)` happen before anything of round t, from 0, is counted; rounds trained in one go are one round."""
    sent, rounds = TrainingLedger.sent, TrainingLedger.rounds

    def sent_later(self, participants, broadcast, n_models):
        act(broadcast.round_index)
        sent(self, participants, broadcast, n_models)

    def rounds_later(self, participants, round_index, n_models):
        act(round_index)
        rounds(self, participants, round_index, n_models)

    patch.setattr(TrainingLedger, "sent", sent_later)
    patch.setattr(TrainingLedger, "rounds", rounds_later)


def simulate(X, y=None, codes=None, *, present=None, blocks=None, n_modalities=1):
    """A federation in one memory, of clients by code."""
    X = np.asarray(X)
    y = np.zeros((len(X), 1)) if y is None else np.asarray(y, dtype=float).reshape(len(X), -1)
    codes = np.zeros(len(X), dtype=np.int64) if codes is None else np.asarray(codes)
    return Simulation(ClientData(X, y, present, blocks, n_modalities=n_modalities), Partition.of_codes(codes))


def identity(n_columns, gains=None):
    """Inputs that are the columns of the table, as if `gains` were what a transformation had stretched them by."""
    gains = np.ones(n_columns) if gains is None else np.asarray(gains, dtype=float)
    block = BlockTransform(np.zeros(n_columns), np.ones(n_columns), np.diag(gains), float(n_columns))
    return Inputs(TableTransform({"x": np.arange(n_columns)}, {"x": block}))


# --------------------------------------------------------------------- sums over clients, from bare arrays


def fit_tables(table, columns, partition, kind, shrinkages, present=None):
    """The transformation of all modalities for each of `shrinkages`, from a simulated federation."""
    simulation = Simulation(ClientData(table, np.zeros((len(table), 1)), present, n_modalities=len(columns)), partition)
    kinds = kind if isinstance(kind, dict) else dict.fromkeys(columns, kind)
    blocks = {name: Block(mine, m) for m, (name, mine) in enumerate(columns.items())}
    found = fit_blocks(simulation, blocks, kinds)
    return [TableTransform(dict(columns), of_blocks) for of_blocks in (whitened(found, s) for s in shrinkages)]


def block_of(table, partition, kind):
    """What one block of all columns goes through: a spectrum, or a transformation."""
    simulation = Simulation(ClientData(table, np.zeros((len(table), 1))), partition)
    return fit_blocks(simulation, {"x": Block(np.arange(table.shape[1]))}, {"x": kind})["x"]


def spectrum(table, partition):
    """Principal axes of all columns, or None where there are too many and no low-dimensional range."""
    found = block_of(table, partition, "whiten")
    return found if isinstance(found, BlockSpectrum) else None


def fit_targets(targets, partition):
    """The standardisation of outputs."""
    federation = Simulation(ClientData(np.zeros((len(targets), 0)), targets), partition)
    return whitening.fit_blocks(federation, {"y": Block(None)}, {"y": "standardize"})["y"]


# ------------------------------------------------------------- the objective, by other routes of torch


def dense(views, name, n_hidden, x, skip_width=0):
    """A stack of dense silu layers for one client, by torch.nn.functional; `skip_width` outputs of a skip."""
    skipped = 0.0
    for i in range(n_hidden + 1):
        x = functional.linear(x, views[f"{name}.weight{i}"], views[f"{name}.bias{i}"][:, 0])
        if i < n_hidden:
            if i == 0 and skip_width:
                x, skipped = x[:, :-skip_width], x[:, -skip_width:]
            x = functional.silu(x)
    return x + skipped


def written_out_forward(network, views, x, fusion="concat"):
    """Codes, Z and y_hat of one client's rows x (B, columns), views without a replica axis."""
    codes, start = [], 0
    for name, mlp in network.encoders.items():
        stop = start + mlp.n_inputs
        width = mlp.n_outputs if mlp.skip else 0
        codes.append(dense(views, name, len(mlp.hidden), x[:, start:stop], width))
        start = stop
    pooled = torch.cat(codes, 1) if fusion == "concat" else sum(codes) / len(codes)
    z = dense(views, "fusion", 0, pooled)
    return codes, z, dense(views, "head", len(network.head.hidden), z)


def written_out_objective(network, views, x, y, references, settings, fusion="concat"):
    """L_k of one client's batch from library functions: distributions, cross entropy, cosine similarity."""
    settings = SimpleNamespace(**settings.by_name())
    codes, z, y_hat = written_out_forward(network, views, x, fusion)
    loss = functional.mse_loss(y_hat, y)
    if settings.mi_weight and len(x) > 1:
        shifted = torch.cat((y[1:], y[:1]))
        t_joint = dense(views, "critic", 1, torch.cat((z, y), 1))
        t_marginal = dense(views, "critic", 1, torch.cat((z, shifted), 1))
        j = -functional.softplus(-t_joint).mean() - functional.softplus(t_marginal).mean()
        loss = loss - settings.mi_weight * j
    if settings.kl_weight and len(codes) > 1:
        pairs = [
            (kl_divergence(Normal(a, 1.0), Normal(b, 1.0)) + kl_divergence(Normal(b, 1.0), Normal(a, 1.0)))
            .sum(-1)
            .mean()
            for i, a in enumerate(codes)
            for b in codes[:i]
        ]
        loss = loss + settings.kl_weight * sum(pairs) / len(pairs)
    if settings.contrastive_weight and references is not None:
        logits = functional.cosine_similarity(z[:, None], references, dim=-1) / settings.temperature
        nce = functional.cross_entropy(logits, torch.zeros(len(x), dtype=torch.long))
        loss = loss + settings.contrastive_weight * nce
    return loss


def split_off(partition, fraction, seed):
    """The rows to train on, and the rows that each client holds out."""
    kept, held_out = (within(partition, Split(fraction, seed, side)) for side in (False, True))
    check_held_out(len(held_out.rows))
    return kept, held_out
