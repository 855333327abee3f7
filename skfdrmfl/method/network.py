"""The whole model of one client: encoders h_m, fusion g, head f, and the critic T of the information term."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import Arrays, Float, Indices
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.method.fusion import Fusion
from skfdrmfl.method.layout import ParameterLayout
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.parts import Part, Shapes, Views

# Hidden layers of the critic.
CRITIC_HIDDEN = (32,)


class Activations(NamedTuple):
    """One forward pass."""

    codes: Tensor  # (C, B, M, d)
    z: Tensor  # (C, B, c)
    y_hat: Tensor  # (C, B, q)


class Spread:
    """Raw log variances of a modality's code: gains times the outputs of its encoder with weights of its own.

    The gains, one an entry, start at zero: so training starts with variances of one for any encoder. Z does not depend
    on the variances.
    """

    def __init__(self, encoder: Part):
        self._encoder = encoder
        self.n_inputs, self.n_outputs = encoder.n_inputs, encoder.n_outputs
        self._names = {name: f"spread.{name}" for name in encoder.shapes}
        self._gain = f"gain.{encoder.name}"
        self.shapes: Shapes = {self._names[name]: shape for name, shape in encoder.shapes.items()}
        self.shapes[self._gain] = (encoder.n_outputs, 1)

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return weights before the first round: those of an encoder, drawn anew, and gains of zero."""
        arrays = {self._names[name]: array for name, array in self._encoder.initial(rngs, input_power).items()}
        return arrays | {self._gain: np.zeros(self.shapes[self._gain])}

    def forward(self, views: Views, x: Tensor) -> Tensor:
        """Return raw log variances (C, B, d) for inputs x (C, B, n_inputs)."""
        own = {name: views[mine] for name, mine in self._names.items()}  # under the names that the encoder gives its
        return self._encoder.forward(own, x) * views[self._gain].mT


class Network:
    """The model as pure functions of parameters and rows; it holds shapes, never weights.

    `encoders` are the h_m of the modalities, in order, made for `hidden` layers; `modality_dim`, `n_components` and
    `n_outputs` are d, c and q. A head without `head_hidden` layers is linear. Of the `ALIGNMENTS`, "diagonal" reads
    variances of codes, learned by a `Spread` of each modality. One modality has nothing to align; the key is then
    ignored.
    """

    def __init__(
        self,
        encoders: Mapping[str, Part],
        fusion: Fusion,
        *,
        modality_dim: int,
        n_components: int,
        n_outputs: int,
        hidden: Sequence[int] = (),
        head_hidden: Sequence[int] = (),
        alignment: str = "homoscedastic",
    ):
        self.encoders: dict[str, Part] = dict(encoders)
        self.fusion = fusion
        self.modality_dim, self.n_components, self.n_outputs = modality_dim, n_components, n_outputs
        pooled = fusion.n_pooled(len(self.encoders), modality_dim)
        self.mixer = MLP("fusion", pooled, (), n_components)
        self.head = MLP("head", n_components, head_hidden, n_outputs)
        self.critic = MLP("critic", n_components + n_outputs, CRITIC_HIDDEN, 1)
        self.alignment = alignment if len(self.encoders) > 1 else "homoscedastic"
        self.spreads: dict[str, Spread] = {}
        if self.alignment == "diagonal":
            self.spreads = {name: Spread(encoder) for name, encoder in self.encoders.items()}
        self._hidden, self._head_hidden = tuple(hidden), tuple(head_hidden)
        *starts, self.n_columns = accumulate((e.n_inputs for e in self.encoders.values()), initial=0)
        self.columns = {
            name: slice(start, start + e.n_inputs)
            for start, (name, e) in zip(starts, self.encoders.items(), strict=True)
        }
        self._parts: list[Part | Spread] = [
            *(self.mixer, self.head, self.critic),
            *self.encoders.values(),
            *self.spreads.values(),
        ]
        shapes: Shapes = {}
        for part in self._parts:
            shapes |= part.shapes
        shapes |= fusion.shapes(len(self.encoders), modality_dim)
        self.layout = ParameterLayout(shapes)

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        """Return the network itself: it never changes."""
        return self

    @property
    def widths(self) -> dict[str, int]:
        """Number of inputs of each encoder, by modality."""
        return {name: encoder.n_inputs for name, encoder in self.encoders.items()}

    @property
    def shape(self) -> dict[str, Any]:
        """The parameters, by name, in which the networks of one fit may differ."""
        return {
            "hidden_layer_sizes": self._hidden,
            "head_hidden_layer_sizes": self._head_hidden,
            "modality_dim": self.modality_dim,
        }

    @property
    def signature(self) -> dict[str, Any]:
        """What two networks have in common where one goes on from the other: all but the widths of dense inputs."""
        return {
            "modality_dim": self.modality_dim,
            "encoders": tuple((name, e.signature) for name, e in self.encoders.items()),
            "fusion": type(self.fusion).__name__,
            "n_components": self.n_components,
            "head_hidden_layer_sizes": self._head_hidden,
            "n_outputs": self.n_outputs,
            "alignment": self.alignment,
        }

    def initial(self, seed: int, input_powers: Mapping[str, float]) -> Arrays:
        """Return weights before the first round, drawn by the run's seed; `input_powers` is E||x^m||^2 by modality.

        Every layer draws from a stream of its own, input by input: one more modality, one more layer or padding of the
        inputs moves no other weight, and names do not matter.
        """
        arrays: Arrays = {}
        powers = {
            id(part): input_powers[name] for parts in (self.encoders, self.spreads) for name, part in parts.items()
        }
        for i, part in enumerate(self._parts):
            rngs = map(partial(randomness.generator, seed, randomness.INITIAL_WEIGHTS, i), count())
            arrays |= part.initial(rngs, powers.get(id(part)))
            if part is self.mixer:
                arrays |= self.fusion.initial(rngs, len(self.encoders), self.modality_dim)
        return arrays

    def arrays(self, flat: NDArray) -> Arrays:
        """Return the named parameters in one flat vector (D,), as float64 arrays."""
        return {name: np.asarray(view, dtype=np.float64) for name, view in self.layout.views(flat).items()}

    # ------------------------------------------------------------------------------------------ forward

    def forward(self, views: Views, x: Tensor, mask: Tensor | None = None) -> Activations:
        """Return codes, Z and y_hat of the rows x (C, B, n_columns), replica by replica.

        x is finite, also in columns of modalities that a row lacks, which `mask` (C, B, M) says; None: all have all.
        """
        codes = [encoder.forward(views, x[..., self.columns[name]]) for name, encoder in self.encoders.items()]
        mu = codes[0].unsqueeze(-2) if len(codes) == 1 else torch.stack(codes, -2)
        z = self.mixer.forward(views, self.fusion.pool(views, mu, mask))
        return Activations(mu, z, self.head.forward(views, z))

    def criticise(self, views: Views, z: Tensor, y_pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Return T on the pairs (z_i, y_i) and on the pairs (z_i, y_{i+1}), each (C, B).

        `y_pairs` (C, 2 B, q) is y followed by y shifted cyclically inside the batch.
        """
        z = z.mT
        pairs = torch.cat((torch.cat((z, z), 2), y_pairs.mT), 1)  # (C, c + q, 2 B)
        t_joint, t_marginal = self.critic.forward(views, pairs.mT).squeeze(-1).split(z.shape[2], 1)
        return t_joint, t_marginal

    def spread(self, views: Views, x: Tensor) -> Tensor:
        """Return raw log variances (C, B, M, d) of the codes of rows x, where spreads learn them.

        Those of modalities that a row lacks have no meaning.
        """
        return torch.stack([s.forward(views, x[..., self.columns[name]]) for name, s in self.spreads.items()], -2)

    def encoder_of(self) -> Indices:
        """Return whose encoder, or `Spread`, each parameter of the flat vector (D,) belongs to: 1 + m for modality m.

        All others, and gaps between arrays, are 0, also what learns from rows with one modality alone: its gates of
        `GatedFusion`, its preferences of `AttentionFusion`, its columns of the mixer behind `ConcatFusion`.
        """
        owner = np.zeros(self.layout.size, dtype=np.int64)
        views = self.layout.views(owner)
        for m, modality in enumerate(self.encoders):
            for part in (self.encoders[modality], self.spreads.get(modality)):
                for name in part.shapes if part is not None else ():
                    views[name].fill(1 + m)
        return owner

    def trained(self, critic: bool) -> NDArray[np.bool_]:
        """Return which entries of the flat vector (D,) are parameters that training moves, without gaps between arrays.

        The critic is among them where it is used.
        """
        moves = np.zeros(self.layout.size, dtype=bool)
        for name, view in self.layout.views(moves).items():
            view.fill(critic or name not in self.critic.shapes)
        return moves

    # ------------------------------------------------------------------------------------------ delivery

    def rotated(self, arrays: Mapping[str, Float], center: Float, rotation: Float) -> Arrays:
        """Return arrays with which Z is (Z - center) rotation, which is orthogonal, and the prediction the same."""
        out = dict(arrays)
        out["fusion.weight0"] = rotation.T @ arrays["fusion.weight0"]
        out["fusion.bias0"] = rotation.T @ (arrays["fusion.bias0"] - center[:, None])
        weight, bias = arrays["head.weight0"], arrays["head.bias0"]
        out["head.weight0"] = weight @ rotation
        out["head.bias0"] = bias + weight @ center[:, None]
        return out
