"""The estimator: scikit-learn's face of the federated model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, RegressorMixin, TransformerMixin
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import assert_all_finite, check_is_fitted, validate_data
from torch import Tensor

from skfdrmfl._version import __version__
from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import Indices, Present
from skfdrmfl.common.threads import quiet_torch
from skfdrmfl.data.categories import agree, by_kind, discrete_columns, encode, missing_codes, split, with_codes
from skfdrmfl.data.client_ids import check_client_ids, check_same_labels, encode_clients
from skfdrmfl.data.held_out import split_off
from skfdrmfl.data.missing import check_somebody_has, find_present
from skfdrmfl.data.modalities import resolve_modalities
from skfdrmfl.data.partition import Partition
from skfdrmfl.data.transforms import TableTransform
from skfdrmfl.encoders._spec import nested_params, with_nested_params
from skfdrmfl.estimator._blueprint import Blueprint, check_rows, specs_of
from skfdrmfl.estimator._postponed import active_pool
from skfdrmfl.estimator._tuning import DEFAULT_SHRINKAGE, Choice, Tuner, with_ridge
from skfdrmfl.federation.engines import ENGINES
from skfdrmfl.federation.record import Record, extend_history
from skfdrmfl.federation.rounds import cosine_decay
from skfdrmfl.federation.runs import Run, Schedule, Settings
from skfdrmfl.federation.sums.axes import deliver
from skfdrmfl.federation.sums.whitening import fit_tables, fit_targets
from skfdrmfl.federation.training import Trained, train
from skfdrmfl.inspection import diagnosis
from skfdrmfl.model.alignment import ALIGNMENTS
from skfdrmfl.model.evaluate import evaluate
from skfdrmfl.model.fusion import FUSIONS
from skfdrmfl.model.linear_part import takes_linear, with_linear
from skfdrmfl.model.network import Network
from skfdrmfl.model.objective import TERMS

TRAINING_DTYPE = torch.float32


class FDRMFLTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RegressorMixin, BaseEstimator):
    """Supervised features from several modalities, learned by federated averaging over clients.

    Encoders give each modality a code mu_m = h_m(x^m), fusion gives Z = g(mu_1, .., mu_M), a head predicts
    y = f(Z). Every client trains on its own rows with the objective

        MSE + mi_weight * R_mi + kl_weight * R_kl + contrastive_weight * R_fcl

    and a server averages the parameters by client size, round after round (FDRMFL, arXiv 2512.02076).

    Parameters
    ----------
    n_components : int, default=2
        Number of features c.
    modalities : None, "prefix" or dict, default=None
        Which columns are which modality. None: all are one. "prefix": column names are split at the first
        "__". dict of name to selector: as in `ColumnTransformer`, an int, str, slice, list, boolean mask or
        callable. Every column belongs to exactly one modality. A DataFrame with discrete columns (categories,
        strings, bools) has, with None, the modalities "numeric" and "categorical".
    encoders : None, encoder or dict of name to encoder, default=None
        How each modality is encoded (`skfdrmfl.encoders`); None is `DenseEncoder()` for each, and so is a name left
        out. Parameters of encoders are reached as `encoders__kernel_size`, those in a dict as
        `encoders__nir__kernel_size`.
    hidden_layer_sizes : tuple of int, default=(32,)
        Hidden layers of the dense encoders, beside their linear skip.
    modality_dim : int, default=8
        Entries d of a modality's code.
    fusion : {"concat", "mean", "gated", "attention"}, default="concat"
        How codes are pooled before the affine map to Z: side by side; their mean; their mean weighted, entry by
        entry, by gates computed from them; or four means, each weighted by a learned query.
    head_hidden_layer_sizes : tuple of int, default=()
        Hidden layers of the head. With one y nearly all variance of Z lies along the direction that predicts y;
        several outputs spread it more than a hidden head does.
    mi_weight, kl_weight, contrastive_weight : float, default=1e-3
        lambda_1, lambda_2, lambda_3; at least 0.
    alignment : {"homoscedastic", "diagonal", "moments"}, default="homoscedastic"
        What R_kl is. "homoscedastic": the squared distance of a row's codes, which is the symmetric KL divergence of
        Gaussians of variance one (the paper's). "diagonal": that of Gaussians with a learned variance for each entry
        of each row's codes, whose geometric mean is one; takes a second encoder for each modality. "moments": the
        distance of the codes' means and covariances over a client's batch, whichever row has which code. Of no
        consequence with one modality or `kl_weight=0`.
    temperature : float, default=0.5
        tau of the contrastive term.
    history_size : int, default=3
        Earlier global models kept as negatives of the contrastive term.
    n_rounds : int, default=60
        Communication rounds of `fit`.
    local_epochs : int, default=5
        Passes E of each client over its rows in a round.
    batch_size : int, default=32
        Most rows in a local batch.
    learning_rate : float, default=0.01
        Of Adam, started afresh each round; decays along a cosine over the rounds of `fit`, constant in
        `partial_fit`.
    weight_decay : float, default=0.3
        Decoupled: each step multiplies the weights by 1 - learning rate * weight_decay.
    input_l1 : float, default=0.0
        L1 penalty on the first layers' weights, by soft threshold, so that weights reach exactly zero. Of
        convolutional and recurrent encoders it thins the linear skip.
    modality_dropout : float in [0, 1), default=0.0
        Probability with which each modality of a row is left out of a training step, never the last one it has.
        Makes predictions for rows that lack one better. With `fusion="concat"` those for complete rows suffer: choose
        another fusion with it.
    preprocessing : {"whiten", "standardize", None}, default="whiten"
        Federated, from sums over each client's rows. "whiten" maps each modality to V / sqrt(ev + shrinkage *
        ev_1); columns whose scales span more than 100 are standardised first. Whitening replaces columns by
        directions, so modalities whose encoder needs the columns themselves are standardised instead
        (convolutional, recurrent, `TorchEncoder`), and codes of categories are left as they are.
    shrinkage : float or "auto", default=2e-4
        Of the whitening, relative to the largest eigenvalue. "auto" chooses by rows held out inside the clients; it
        takes about five fits' time, and the sums of its folds reveal rows of clients with five rows or fewer.
    tuning : {None, "auto"}, default=None
        "auto" chooses, by rows held out inside the clients, among networks of several shrinkages and decays, each
        alone and mixed with a federated ridge regression, that ridge alone, and networks trained on what the ridge
        leaves; see `tuning_`. For small or nearly linear sets, and targets that may hold no signal. `shrinkage` is not
        used then, and `weight_decay` is the larger of the two tried. The candidates of a fold train in one pass; it
        takes about ten fits' time, and reveals what `shrinkage="auto"` does. The ridge is left out with categories,
        a hidden head, encoders without a linear map, fusion "gated" or "attention" ("mean" of several
        modalities), and unless outputs <= n_components <= modality_dim.
    early_stopping : bool, default=False
        Whether clients hold out rows of their own, the model of the round with the least error on them is kept, and
        training ends after `n_iter_no_change` rounds without a better one. Only in `fit`.
    validation_fraction : float in (0, 1), default=0.1
        Share of its rows that each client holds out, rounded up, but never all.
    n_iter_no_change : int, default=10
        Rounds.
    algorithm : {"fedavg"}, default="fedavg"
    aggregation : {"mean"}, default="mean"
    participation : float in (0, 1], default=1.0
        Share of the clients drawn in each round, at least one.
    engine : {"auto", "stacked", "loop"}, default="auto"
        "stacked" trains all clients at once, "loop" one after another; same results to rounding. "auto" is
        "stacked".
    device : str, default="cpu"
        Where to train: "cpu", "cuda", "cuda:1", ..., or "auto" for CUDA where there is one.
    random_state : int, RandomState instance or None, default=None
        Initial weights, order of rows, choice of participants. None takes fresh entropy from the system.
    verbose : int, default=0
        1 prints about ten lines of progress, 2 every round.
    warm_start : bool, default=False
        Whether `fit` goes on from the previous fit's weights, its preprocessing kept.

    Attributes
    ----------
    clients_ : ndarray of shape (K,)
        Labels of the clients, in the order of all per-client results; later ones are appended.
    n_samples_per_client_ : ndarray of shape (K,)
        Rows of each client, accumulated over `partial_fit`.
    modalities_ : dict of str to ndarray of int
        Columns of each modality.
    categories_ : dict of str to ndarray
        Sorted categories of each discrete column of a DataFrame, None last if values are missing: the union of
        those that the clients hold. Others, met later, count as unseen, for which a vector of zeros is kept.
    weights_ : dict of str to ndarray
        Parameters of the global model, Z centred and on its principal axes.
    component_variance_ : ndarray of shape (n_components,)
        Variance of each column of Z over the training rows, descending.
    shrinkage_ : float
        The shrinkage used.
    tuning_ : list of dict
        With `tuning="auto"`, or `shrinkage="auto"` where something is whitened, all candidates, the chosen one first
        (the best, or the ridge where the best is not clearly better), the others by their errors: "start" ("random",
        "ridge", or "residual": the whole ridge plus a network), "shrinkage", "weight_decay", "share" of the network in
        the prediction, "penalty" of the ridge relative to the largest eigenvalue, and "validation_mse" of
        standardised y.
    best_round_ : int
        With `early_stopping`, the round (from 1) whose model was kept, 0 for the weights before the first round:
        nothing could be learned, or tuning chose the ridge. `history_["validation_mse"]` has the errors.
    selected_features_ : ndarray of int
        Columns of X that Z depends on: fewer than all where `input_l1` has emptied some. Whitening mixes the columns
        of a modality, then all that vary count.
    history_ : dict of str to ndarray
        Training means of "loss", "mse", "mi", "kl", "contrastive" and "mi_nwj" (a lower bound of I(Z; y) in
        nats), each of shape (n_rounds_,), averaged over clients by size; and with the suffix "_per_client",
        of shape (n_rounds_, K), NaN for who was absent. Errors are of standardised y (after
        tuning's "residual", of what the ridge leaves; after a mixture, of its network alone). A term whose weight is
        0 is not computed and reported as 0. "drift" is the spread of the clients' weights about their average,
        relative to the round's step: sum_k p_k |w_k - w_{t+1}|^2 / |w_{t+1} - w_t|^2.
    n_rounds_ : int
        Rounds completed; 0 where tuning chose the ridge, and `history_` has no entries.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    See Also
    --------
    IgnoreClients : Lets PCA and others stand in the same search.

    References
    ----------
    H. Wu, "FDRMFL: Multi-modal Federated Feature Extraction Model Based on Information Maximization and
    Contrastive Learning", arXiv 2512.02076.

    Examples
    --------
    >>> from skfdrmfl import FDRMFLTransformer
    >>> from skfdrmfl.datasets import load_tecator, make_client_ids
    >>> X, y = load_tecator(return_X_y=True)
    >>> client_ids = make_client_ids(y, 3, random_state=0)
    >>> Z = FDRMFLTransformer(random_state=0).fit_transform(X, y, client_ids=client_ids)
    >>> Z.shape
    (215, 2)
    """

    # Routed to fit and partial_fit without any set_fit_request call.
    __metadata_request__fit: ClassVar = {"client_ids": True}
    __metadata_request__partial_fit: ClassVar = {"client_ids": True}

    n_samples_per_client_: Indices
    n_rounds_: int

    _parameter_constraints: ClassVar = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": "no_validation",
        "head_hidden_layer_sizes": "no_validation",
        "modality_dim": [Interval(Integral, 1, None, closed="left")],
        "fusion": [StrOptions(set(FUSIONS))],
        "mi_weight": [Interval(Real, 0, None, closed="left")],
        "kl_weight": [Interval(Real, 0, None, closed="left")],
        "contrastive_weight": [Interval(Real, 0, None, closed="left")],
        "alignment": [StrOptions(set(ALIGNMENTS))],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "history_size": [Interval(Integral, 0, None, closed="left")],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "local_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "input_l1": [Interval(Real, 0, None, closed="left")],
        "modality_dropout": [Interval(Real, 0, 1, closed="left")],
        "preprocessing": [StrOptions({"whiten", "standardize"}), None],
        "shrinkage": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "algorithm": [StrOptions({"fedavg"})],
        "aggregation": [StrOptions({"mean"})],
        "participation": [Interval(Real, 0, 1, closed="right")],
        "engine": [StrOptions({"auto", *ENGINES})],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "tuning": [StrOptions({"auto"}), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        modalities: Any = None,
        encoders: Any = None,
        hidden_layer_sizes: Any = (32,),
        modality_dim: int = 8,
        fusion: str = "concat",
        head_hidden_layer_sizes: Any = (),
        mi_weight: float = 1e-3,
        kl_weight: float = 1e-3,
        contrastive_weight: float = 1e-3,
        alignment: str = "homoscedastic",
        temperature: float = 0.5,
        history_size: int = 3,
        n_rounds: int = 60,
        local_epochs: int = 5,
        batch_size: int = 32,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.3,
        input_l1: float = 0.0,
        modality_dropout: float = 0.0,
        preprocessing: str | None = "whiten",
        shrinkage: float | str = 2e-4,
        algorithm: str = "fedavg",
        aggregation: str = "mean",
        participation: float = 1.0,
        engine: str = "auto",
        device: str = "cpu",
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        tuning: str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
    ):
        self.n_components = n_components
        self.modalities = modalities
        self.encoders = encoders
        self.hidden_layer_sizes = hidden_layer_sizes
        self.modality_dim = modality_dim
        self.fusion = fusion
        self.head_hidden_layer_sizes = head_hidden_layer_sizes
        self.mi_weight = mi_weight
        self.kl_weight = kl_weight
        self.contrastive_weight = contrastive_weight
        self.alignment = alignment
        self.temperature = temperature
        self.history_size = history_size
        self.n_rounds = n_rounds
        self.local_epochs = local_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.input_l1 = input_l1
        self.modality_dropout = modality_dropout
        self.preprocessing = preprocessing
        self.shrinkage = shrinkage
        self.algorithm = algorithm
        self.aggregation = aggregation
        self.participation = participation
        self.engine = engine
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start
        self.tuning = tuning
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; if `deep`, also those of the encoders, in a dict or not.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        dict of str to object
        """
        params = super().get_params(deep=deep)
        if deep:
            params |= {f"encoders__{name}": value for name, value in nested_params(self.encoders).items()}
        return params

    def set_params(self, **params: Any) -> FDRMFLTransformer:
        """Set parameters by name; `encoders__...` sets those of encoders.

        Encoders are replaced by changed copies, so that nobody who shares them notices.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self
        """
        prefix = "encoders__"
        nested = {name[len(prefix) :]: value for name, value in params.items() if name.startswith(prefix)}
        super().set_params(**{name: value for name, value in params.items() if not name.startswith(prefix)})
        if nested:
            self.encoders = with_nested_params(self.encoders, nested)
        return self

    # ---------------------------------------------------------------------------------------- training

    def fit(self, X: Any, y: ArrayLike, client_ids: ArrayLike | None = None) -> FDRMFLTransformer:
        """Train for `n_rounds` rounds.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            With several modalities, a row that lacks some has NaN in all of their columns.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        client_ids : array-like of shape (n_samples,), default=None
            Label of the client that holds each row. None: one client holds all, which is centralised training.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Bad input, before any training; or training diverged. The estimator is left as it was.
        KeyboardInterrupt
            Passed on after the finished rounds have been made the fitted model.
        """
        pool = active_pool()
        if pool is not None and pool.fit(self, X, y, client_ids):
            return self
        with self._all_or_nothing(), quiet_torch():
            self._train(*self._prepare_fit(X, y, client_ids))
        return self

    def partial_fit(self, X: Any, y: ArrayLike, client_ids: ArrayLike | None = None) -> FDRMFLTransformer:
        """One more round with whoever is there, at a constant learning rate.

        Parameters and errors are those of `fit`. Preprocessing is fixed by the first call. Clients not met
        before are appended to `clients_`.
        """
        with self._all_or_nothing(), quiet_torch():
            run = self._prepare(X, y, client_ids, fresh=not hasattr(self, "weights_"))
            self._train(run, self._schedule((1.0,)), self._engine)
        return self

    def _prepare_fit(self, X: Any, y: Any, client_ids: Any) -> tuple[Run, Schedule, str]:
        """All that `fit` does before training; for searches that train many fits together."""
        fresh = not (self.warm_start and hasattr(self, "weights_"))
        run = self._prepare(X, y, client_ids, fresh=fresh, hold_out=self.early_stopping)
        rates = () if fresh and self._choice.start == "ridge" else self._cosine()
        return run, self._schedule(rates, self.n_iter_no_change if self.early_stopping else None), self._engine

    def _prepare(self, X: Any, y: Any, client_ids: Any, *, fresh: bool, hold_out: bool = False) -> Run:
        """Check everything, fix preprocessing and network if `fresh`, and return the run to train."""
        self._validate_params()
        device = _torch_device(self.device)
        if fresh:
            self._forget()
        table, target = validate_data(
            self,
            self._with_codes(X, client_ids, fresh=fresh),
            y,
            reset=fresh,
            dtype=[np.float64, np.float32],
            ensure_all_finite=self._finite,
            multi_output=True,
            y_numeric=True,
        )
        ids = check_client_ids(client_ids, len(table))
        targets = _numbers(target).reshape(len(table), -1)
        if fresh:
            self.clients_, codes = encode_clients(ids)
            self._seed = randomness.seed_of(self.random_state)
            everyone, partition, held_out = self._split(codes, hold_out)
            present = self._start(X, table, targets, np.ndim(target), partition)
        else:
            check_same_labels(ids, self.clients_)
            self.clients_, codes = encode_clients(ids, self.clients_)
            everyone, partition, held_out = self._split(codes, hold_out)
            self._check_continues(X, targets.shape[1])
            present = self._present(table)
            check_rows(self._readers, self.modalities_, table, present)
        counts: Indices = np.zeros(len(self.clients_), dtype=np.int64)
        counts[: len(self.n_samples_per_client_)] = self.n_samples_per_client_
        counts[everyone.positions] += everyone.sizes
        self.n_samples_per_client_ = counts
        models = torch.tensor(self._global_models, device=device)  # copied: mapped models are read-only
        run = Run(
            self._table.apply(table, TRAINING_DTYPE, present=present).to(device),
            self._target.apply(torch.as_tensor(targets)).to(device, TRAINING_DTYPE),
            partition,
            self._settings(),
            self._seed,
            models[0],
            tuple(models[1 : 1 + self.history_size]),
            self.n_rounds_,
            present,
            held_out,
        )
        return with_ridge(run, self._choice, self._table, table) if fresh and self._choice.is_linear else run

    def _split(self, codes: Indices, hold_out: bool) -> tuple[Partition, Partition, Partition | None]:
        """All rows, those to train on, and those the clients hold out."""
        everyone = Partition.of_codes(codes)
        if not hold_out:
            return everyone, everyone, None
        return everyone, *split_off(everyone, self.validation_fraction, self._seed)

    def _with_codes(self, X: Any, client_ids: Any = None, *, fresh: bool = False) -> Any:
        """X with codes in the place of categories; if `fresh`, the clients first agree on these."""
        if fresh:
            self._categories = {}
            discrete = discrete_columns(X)
            if discrete:
                _, codes = encode_clients(check_client_ids(client_ids, len(X)))
                self._categories = agree(X, discrete, Partition.of_codes(codes))
        if self._categories:
            validate_data(self, X, reset=fresh, skip_check_array=True)  # names and number of columns
        return encode(X, self._categories)

    def _start(
        self, X: Any, table: NDArray, targets: NDArray[np.float64], y_ndim: int, partition: Partition
    ) -> Present | None:
        """Modalities, preprocessing, network and first weights; returns which rows have which modality."""
        self.modalities_ = self._resolved_modalities(X)
        blueprint = self._blueprint()
        kinds = blueprint.kinds(self.preprocessing)
        numeric = {name: split(columns, self._categories)[1] for name, columns in self.modalities_.items()}
        numeric = {name: columns for name, columns in numeric.items() if len(columns)}
        # Encoders that do not fit are found before anything is computed.
        widths = {name: len(columns) for name, columns in self.modalities_.items()}
        network = blueprint.network(widths, targets.shape[1])
        present = self._present(table)
        check_somebody_has(present, self.modalities_, np.concatenate(partition.rows))
        self._readers = blueprint.readers
        check_rows(self._readers, self.modalities_, table, present)

        def start(table: TableTransform, widths: Mapping[str, int]) -> tuple[Network, Tensor]:
            network = blueprint.network(widths, targets.shape[1], table.columns)
            first = network.initial(self._seed, {name: block.power for name, block in table.blocks.items()})
            return network, network.layout.pack(first, dtype=TRAINING_DTYPE)

        def preprocess(partition: Partition, shrinkages: Sequence[float]) -> list[TableTransform]:
            there = None if present is None else present[:, [name in numeric for name in self.modalities_]]
            transforms = fit_tables(table, numeric, partition, kinds, shrinkages, there)
            return [with_codes(transform, self.modalities_, self._categories) for transform in transforms]

        shrinkage = DEFAULT_SHRINKAGE if self.shrinkage == "auto" else float(self.shrinkage)
        self._choice = Choice("random", shrinkage, float(self.weight_decay))
        whitens = any(kinds[name] == "whiten" for name in numeric)
        if self.tuning == "auto" or (self.shrinkage == "auto" and whitens):
            tuner = Tuner(
                table,
                targets,
                present,
                whitens,
                preprocess,
                start,
                self._settings(),
                self._schedule(self._cosine()),
                self._engine,
                _torch_device(self.device),
                self._seed,
                self._choice,
                report=self.verbose > 0,
            )
            self._choose(tuner, partition, takes_linear(network))
        self.shrinkage_ = self._choice.shrinkage
        (self._table,) = preprocess(partition, [self.shrinkage_])
        self._target = fit_targets(targets, partition)
        self._y_ndim = y_ndim
        self._network, first = start(self._table, self._table.widths)
        self._global_models = first[None].numpy()
        self.n_samples_per_client_ = np.zeros(0, dtype=np.int64)
        self.history_: dict[str, NDArray[np.float64]] = {}
        self.n_rounds_ = 0
        return present

    def _choose(self, tuner: Tuner, partition: Partition, has_room: bool) -> None:
        """The choice among ways to fit, by rows that clients hold out; `has_room`: a ridge fits into the network."""
        if self.tuning is None:
            compared = tuner.shrinkage(partition)
        else:
            # Codes of categories are no numbers; and where a row lacks a modality, the mean of fewer codes weighs
            # each more than a linear part knows.
            is_linear = not self._categories and (len(self.modalities_) < 2 or self.fusion != "mean")
            compared = tuner.everything(partition, linear=is_linear and has_room)
        self._choice = compared[0][0]
        self.tuning_ = [{**asdict(choice), "validation_mse": error} for choice, error in compared]

    def _resolved_modalities(self, X: Any) -> dict[str, Indices]:
        names = getattr(self, "feature_names_in_", None)
        if self.modalities is None and self._categories:
            return by_kind(self.n_features_in_, self._categories)
        return resolve_modalities(self.modalities, X, names, self.n_features_in_)

    def _blueprint(self) -> Blueprint:
        return Blueprint(
            specs_of(self.encoders, list(self.modalities_)),
            self.modalities_,
            self._categories,
            self.n_components,
            self.modality_dim,
            self.hidden_layer_sizes,
            self.head_hidden_layer_sizes,
            self.fusion,
            self.alignment,
        )

    def _check_continues(self, X: Any, n_outputs: int) -> None:
        """What the network was built with must not have changed since."""
        built = self._network.signature
        if n_outputs != built["n_outputs"]:
            raise ValueError(
                f"y has {n_outputs} outputs but the model was trained on {built['n_outputs']}; "
                "pass the same outputs, or fit a new estimator."
            )
        modalities = self._resolved_modalities(X)
        changed = [] if _same_columns(modalities, self.modalities_) else ["modalities"]
        if not changed:
            asked = self._blueprint().network(self._table.widths, n_outputs).signature
            changed = [name for name, value in asked.items() if value != built[name]]
        if changed:
            # None for all encoders means those of `hidden_layer_sizes`.
            what = "hidden_layer_sizes" if changed[0] == "encoders" and self.encoders is None else changed[0]
            raise ValueError(
                f"{what} is {getattr(self, what)!r} now, but the model to go on from was built "
                "with another value; set it back, or clone the estimator and fit it anew."
            )

    @property
    def _finite(self) -> bool | str:
        """What `validate_data` accepts: NaN is for modalities that a row lacks, while others are there."""
        if self.modalities is None:  # numeric columns and categories, where there are both
            several = 0 < len(getattr(self, "_categories", ())) < getattr(self, "n_features_in_", 0)
        else:
            several = not isinstance(self.modalities, Mapping) or len(self.modalities) > 1
        return "allow-nan" if several else True

    def _present(self, table: NDArray) -> Present | None:
        """Which modalities each row of a validated table has; None: all."""
        if len(self.modalities_) > 1:
            return find_present(table, self.modalities_, missing_codes(self._categories))
        if self._finite is not True:  # so far NaN has been let through
            assert_all_finite(table, input_name="X", estimator_name=type(self).__name__)
        return None

    def _settings(self) -> Settings:
        tuned = self.tuning is not None and hasattr(self, "_choice")
        return Settings(
            learning_rate=float(self.learning_rate),
            weight_decay=self._choice.weight_decay if tuned else float(self.weight_decay),
            input_l1=float(self.input_l1),
            mi_weight=float(self.mi_weight),
            kl_weight=float(self.kl_weight),
            contrastive_weight=float(self.contrastive_weight),
            temperature=float(self.temperature),
            modality_dropout=float(self.modality_dropout) if len(self.modalities_) > 1 else 0.0,
        )

    def _cosine(self) -> tuple[float, ...]:
        return tuple(cosine_decay(t, self.n_rounds) for t in range(self.n_rounds))

    def _schedule(self, rate_factors: tuple[float, ...], patience: int | None = None) -> Schedule:
        return Schedule(
            rate_factors,
            int(self.local_epochs),
            int(self.batch_size),
            float(self.participation),
            int(self.history_size),
            patience,
        )

    @property
    def _engine(self) -> str:
        return "stacked" if self.engine == "auto" else self.engine

    def _train(self, run: Run, schedule: Schedule, engine: str) -> None:
        """Train and take over the result; an interrupt first makes the finished rounds the model."""
        trained = None
        try:
            for trained in train(self._network, [run], schedule, engine):
                self._check_converged(trained, 0)
                self._report(trained, len(schedule.rate_factors))
        except KeyboardInterrupt:
            if trained is not None:
                self._take_over(run, trained.models_of(0), trained.record_of(0))
            raise
        assert trained is not None
        self._take_over(run, trained.models_of(0), trained.record_of(0))

    def _check_converged(self, trained: Trained, run: int) -> None:
        """Raise if the run diverged."""
        if trained.diverged[run]:
            raise ValueError(
                f"training diverged in round {trained.n_rounds}: weights or losses are no longer finite with "
                f"learning_rate={self.learning_rate}, weight_decay={self.weight_decay} and "
                f"preprocessing={self.preprocessing!r}; lower the rate or the decay, or scale X."
            )

    def _take_over(self, run: Run, models: Tensor, record: Record) -> None:
        """Make a trained run the fitted model; all that `fit` does after training.

        `models` (1 + H, D) is the global model and earlier ones.
        """
        models = models.cpu()
        arrays = self._network.arrays(models[0])
        if run.linear is not None:
            arrays = with_linear(self._network, arrays, run.linear, run.share)
            models = self._network.layout.pack(arrays, dtype=TRAINING_DTYPE)[None]  # earlier ones had another Z
        weights, variance = deliver(self._network, arrays, run.x.cpu(), run.partition, run.present)
        history = extend_history(
            self.history_,
            record.losses,
            run.partition.positions,
            run.partition.sizes,
            len(self.clients_),
            record.validation,
        )
        self._global_models = models.numpy()
        self.weights_, self.component_variance_, self.history_ = weights, variance, history
        if record.best_round is not None:
            self.best_round_ = self.n_rounds_ + record.best_round
        self.n_rounds_ += len(record.losses)

    def _report(self, trained: Trained, n_rounds: int) -> None:
        done = trained.n_rounds
        if self.verbose and done and (self.verbose > 1 or done == n_rounds or done % max(1, n_rounds // 10) == 0):
            loss, mse = np.nanmean(trained.losses[-1], axis=0)[[TERMS.index("loss"), TERMS.index("mse")]]
            print(f"[FDRMFL] round {done}/{n_rounds}, loss {loss:.4g}, mse {mse:.4g}", flush=True)

    def _forget(self) -> None:
        """Drop every fitted attribute, public and private."""
        parameters = self.get_params(deep=False)
        for name in list(vars(self)):
            if name not in parameters and (name.endswith("_") or name in _PRIVATE_STATE):
                delattr(self, name)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Bad input, a diverging fit or an early interrupt leaves the estimator as it was."""
        before = dict(vars(self))
        try:
            yield
        except BaseException as error:
            weights = vars(self).get("weights_")
            taken_over = weights is not None and weights is not before.get("weights_")
            if not (isinstance(error, KeyboardInterrupt) and taken_over):
                self.__dict__ = before
            raise

    # ---------------------------------------------------------------------------------------- using it

    def transform(self, X: Any) -> NDArray:
        """The learned features Z.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Centred over the training rows, on principal axes, ordered by variance; float32 for float32 X.
        """
        return self._evaluate(X)[0]

    def predict(self, X: Any) -> NDArray:
        """The head's prediction y_hat = f(Z), in the units of y.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        _, y_hat = self._evaluate(X)
        y_hat = self._target.undo(y_hat)
        return y_hat[:, 0] if self._y_ndim == 1 else y_hat

    def _evaluate(self, X: Any) -> tuple[NDArray, NDArray]:
        check_is_fitted(self, "weights_")
        table = validate_data(
            self, self._with_codes(X), reset=False, dtype=[np.float64, np.float32], ensure_all_finite=self._finite
        )
        present = self._present(table)
        check_rows(self._readers, self.modalities_, table, present)
        with quiet_torch():
            x = self._table.apply(table, torch.float64, present=present)
            z, y_hat = evaluate(self._network, self.weights_, x, present)
        return z.astype(table.dtype, copy=False), y_hat

    def diagnose(self) -> diagnosis.Diagnosis:
        """What the training record says went wrong.

        Looks for a collapsed information estimate, alignment that fights prediction, stale contrastive anchors,
        client drift, client imbalance, a client left behind, and divergence.

        Returns
        -------
        Diagnosis
            A list of dicts of "name", "finding", "evidence" and "remedy"; empty if nothing is wrong. Printed, it
            is a report.
        """
        check_is_fitted(self, "weights_")
        return diagnosis.diagnose(
            diagnosis.TrainingHistory(
                self.history_,
                self.n_samples_per_client_.astype(np.float64),
                self.clients_.tolist(),
                {"mi": self.mi_weight, "kl": self.kl_weight, "contrastive": self.contrastive_weight},
            )
        )

    @property
    def selected_features_(self) -> Indices:
        """Columns of X that Z depends on, ascending."""
        check_is_fitted(self, "weights_")
        used = [
            self._table.columns[name][self._table.blocks[name].columns_behind(encoder.columns_used(self.weights_))]
            for name, encoder in self._network.encoders.items()
        ]
        return np.sort(np.concatenate(used))

    @property
    def categories_(self) -> dict[Any, NDArray]:
        """Categories of each discrete column by its name (its number, if columns have no names)."""
        check_is_fitted(self, "weights_")
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_)).tolist()
        return {names[j]: known for j, known in self._categories.items()}

    @property
    def _n_features_out(self) -> int:
        return self._network.n_components

    # ------------------------------------------------------------------------------------ scikit-learn

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._finite == "allow-nan"
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_skfdrmfl_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        pickled = state.pop("_skfdrmfl_version", "an unknown version")
        if pickled != __version__:
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=type(self).__name__,
                    current_sklearn_version=__version__,
                    original_sklearn_version=pickled,
                ),
                stacklevel=2,
            )
        super().__setstate__(state)


def _numbers(target: Any) -> NDArray[np.float64]:
    """The targets as float64, a copy: pandas gives read-only arrays."""
    try:
        return np.array(target, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y cannot be read as numbers ({error}); pass a dense numeric array, classes as columns of 0 and 1."
        ) from error


def _same_columns(a: Mapping[str, Indices], b: Mapping[str, Indices]) -> bool:
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)


_PRIVATE_STATE = frozenset(
    {"_seed", "_categories", "_readers", "_choice", "_table", "_target", "_y_ndim", "_network", "_global_models"}
)


def _torch_device(device: str) -> torch.device:
    """The device to train on; "auto" is CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f'device is {device!r}, which torch does not know; use "cpu", "cuda" or "auto".') from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f'device is {device!r}, which is not supported; use "cpu", "cuda" or "auto".')
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'device is {device!r} but torch finds no CUDA device; use "cpu" or "auto".')
    return chosen
