"""The estimator: scikit-learn's face of the federated model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, RegressorMixin, TransformerMixin
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted, validate_data

from skfdrmfl.common.threads import single_threaded
from skfdrmfl.common.version import __version__
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.diagnosis.diagnosis import Diagnosis, diagnose
from skfdrmfl.diagnosis.history import TrainingHistory
from skfdrmfl.encoders._spec import nested_params, with_nested_params
from skfdrmfl.estimator._attributes import FittedAttributes
from skfdrmfl.estimator._html import Representation
from skfdrmfl.estimator._trust import Trust
from skfdrmfl.fit.callbacks import CallbackSupportMixin, CallbackTask, with_callbacks
from skfdrmfl.fit.check_input import are_plain_numbers, present_in, with_codes
from skfdrmfl.fit.parameters import CONSTRAINTS, check_pretreatment, value_of
from skfdrmfl.fit.result import Fitted
from skfdrmfl.fit.saving import load, save, warn_of_version
from skfdrmfl.method.objective import weight_of_each_term

if TYPE_CHECKING:
    from skfdrmfl.fit.mixture import Ready


@dataclass(eq=False, repr=False)
class FDRMFLTransformer(
    FittedAttributes,
    Trust,
    Representation,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    RegressorMixin,
    BaseEstimator,
):
    """Supervised features from several modalities, learned by a federation of clients that keep their rows.

    By default a mixture predicts: linear models that follow from the clients' sums, and networks, each weighed by its
    errors on rows that clients hold out (`tuning`, docs/method.md). With `tuning=None` it is one network, FDRMFL (arXiv
    2512.02076): encoders give each modality a code mu_m = h_m(x^m), fusion gives Z = g(mu_1, .., mu_M), a head predicts
    y = f(Z). Every client trains on its own rows with the objective

        MSE + mi_weight * R_mi + kl_weight * R_kl + contrastive_weight * R_fcl

    and a server averages the parameters by client size, round after round. The networks of a mixture are trained
    likewise.

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
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Hidden layers of the dense encoders, beside their linear skip. "auto": (32,) of a network alone, what its rule
        says of each in a mixture. Sizes hold for every network.
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
        Of Adam, started afresh each round; decays along a cosine over the rounds of `fit`, constant in `partial_fit`.
    weight_decay : float or "auto", default="auto"
        Decoupled: each step multiplies the weights by 1 - learning rate * weight_decay. "auto": .3 of a network alone,
        what its rule says of each in a mixture. A number holds for every network.
    input_l1 : float, default=0.0
        L1 penalty on the first layers' weights, by soft threshold, so that weights reach exactly zero. Of
        convolutional and recurrent encoders it thins the linear skip.
    modality_dropout : float in [0, 1), default=0.0
        Probability with which each modality of a row is left out of a training step, never the last one it has.
        Makes predictions for rows that lack one better. With `fusion="concat"` those for complete rows suffer: choose
        another fusion with it.
    pretreatment : "auto", None, {"snv", "sg1", "sg2", "snv+sg1"} or list of these, default="auto"
        What happens to each row of a modality of numbers by itself, inside its client, before `preprocessing`. "snv":
        less its mean, over its standard deviation, with mean and log deviation as two more columns; "sg1", "sg2":
        first, second derivative along the columns (Savitzky-Golay); "snv+sg1": one after the other. None: nothing.
        Codes of categories stay as they are. A mixture pre-treats smooth modalities alone: dense or linear encoders,
        at least 20 columns, neighbouring ones with a median correlation above .9. Its members read these in the view
        named; of a list, in each of it and as they are; with "auto" in all views. A network alone is pre-treated where
        a view is named; "auto" does nothing, and a list is refused.
    preprocessing : {"whiten", "standardize", None}, default="whiten"
        Federated, from sums over each client's rows. "whiten" maps each modality to V / sqrt(ev + shrinkage *
        ev_1); columns whose scales span more than 100 are standardised first. Whitening replaces columns by
        directions, so modalities whose encoder needs the columns themselves are standardised instead
        (convolutional, recurrent, `TorchEncoder`), and codes of categories are left as they are.
    shrinkage : float or "auto", default="auto"
        Of the whitening, relative to the largest eigenvalue. "auto": 2e-4 of a network alone, what its rule says of
        each in a mixture. A number holds for every network.
    tuning : {"mixture", None}, default="mixture"
        "mixture": the mean, ridges, PLS and networks predict together, by weights that add up to 1 and err least on
        rows held out inside the clients; see `members_` and docs/method.md. Sums by fold reveal rows of clients with
        few rows (docs/privacy.md). Over Flower it has one network unless more is asked for (docs/run_a_site.md).
        None: one network. It is trained alone, and `members_.note` says why, with privacy, in `partial_fit`, with
        `warm_start`, and where clients of fewer than 6 rows hold most rows.
    early_stopping : bool, default=False
        Whether clients hold out rows of their own, the model of the round with the least error on them is kept, and
        training ends after `n_iter_no_change` rounds without a better one. Only in `fit`. In a mixture each network
        stops by itself, and the folds are of the other rows.
    validation_fraction : float in (0, 1), default=0.1
        Share of its rows that each client holds out, rounded up to whole groups, but never all.
    n_iter_no_change : int, default=10
        Rounds.
    client_column, groups_column : str or int, default=None
        Name or position (of a DataFrame too) of a column of X that holds what `client_ids` or `groups` would be: whole
        numbers or strings, where `fit` cannot be given them (docs/recipes.md). It counts in `n_features_in_`, is never
        a feature, and may be missing in `transform` and `predict`.
    algorithm : {"auto", "fedavg", "fedprox", "scaffold", "fedavgm", "fedadam", "fedsgd", "fednova"}, default="auto"
        What the server makes of a round, and what clients do in it. "auto": "fedavg"; where clients are unlike each
        other, by their first gradients, a mixture has one more network, trained by "fedsgd". A name holds for every
        network. "fedavg": the average is the next model.
        "fedprox": clients are held near the global model by `proximal_weight`. "scaffold": each client's mean gradient
        is replaced by that of all. "fedavgm", "fedadam": the server takes the average's step with momentum, or as a
        gradient for Adam. "fedsgd": clients send the gradient over all their rows, the server takes a step of Adam: the
        fit does not depend on who holds which row; its rounds are cheap, and it wants about ten times as many
        (`n_rounds=600`). "fednova": clients that take unequal numbers of local steps count by direction, not by how far
        they go. "fedadam", "fedsgd" and "scaffold" are for clients unlike each other.
    proximal_weight : float, default=0.1
        mu of "fedprox".
    server_learning_rate : float, default=None
        Of "fedavgm" (None: 1), "fedadam" (.1, decays with `learning_rate`) and "fedsgd" (.02, decays too; with
        `weight_decay` at this rate).
    server_momentum : float in [0, 1), default=0.9
        Of "fedavgm".
    aggregation : {"mean", "median", "trimmed_mean", "geometric_median", "centered_clipping"}, default="mean"
        How a round's updates become one model. The mean weighs clients by rows; every other rule gives each client one
        vote, as a number of rows is but a claim, and brings a guard of the sums: clients whose values are of another
        order than those of most (factor 30) are left out of sums and training, with a warning (see `dropped_clients_`).
    preaggregation : {None, "nnm", "lengths", "lengths+nnm"}, default=None
        What updates go through before the rule. "nnm": each becomes the mean of the K - n_byzantine nearest to it, of
        the K of the round, itself among them. "lengths": those that are twice as long or half as long as most, and out
        of line, are left out, n_byzantine at most. "lengths+nnm": first one, then the other. With "mean" too all then
        have one vote, and the sums their guard.
    n_byzantine : int, default=0
        Clients of a round, fewer than half, that "trimmed_mean" and every `preaggregation` take for dishonest; with 0
        these change nothing but the weights. The other rules need no number.
    participation : float in (0, 1], default=1.0
        Share of the clients drawn in each round, at least one, among those who are there. With privacy the probability
        with which each is drawn.
    dp_noise_multiplier : float, default=0.0
        Differential privacy of clients (docs/privacy.md): standard deviation of the noise on the sum of a round's
        updates, relative to `dp_clip_norm`. With 0.0 and an infinite clip privacy is off; with a finite one updates
        are clipped without noise and `epsilon_` is infinite. Noise comes from the system, not from `random_state`.
    dp_clip_norm : float, default=inf
        Length to which each client's update is cut, about that of a median one.
    dp_target_quantile : float in (0, 1), default=None
        Share of updates that is to lie within the clip, which follows it from `dp_clip_norm` on. None: it stays.
    dp_bounds : dict of {"X", "y"} to (low, high), default=None
        Public bounds, numbers or one a column (of labels too), within which noisy moments are taken: of y always, of X
        with `preprocessing="standardize"`. Values beyond count as on the bound there, and are used as they are
        elsewhere.
    dp_delta : float in (0, 1), default=None
        delta of `epsilon_`. None is K^-1.1 for K clients.
    availability : callable, array-like of bool of shape (n_rounds, K), or None, default=None
        Which clients are there in which round: `availability(round, client)`, rounds from 1 and clients by label, or
        a table with columns in the order of `clients_`. None: all always. What precedes training, the linear members of
        a mixture too, comes from those who are there in round 1, what follows it, such as weights of members, from
        those of the last round that anyone was there in.
    min_clients : int, default=1
        A round in which fewer are there is skipped: the model stays, and `history_` has NaN.
    engine : {"auto", "native", "torch"}, default="auto"
        "native" trains in compiled code, many times faster; "torch" all clients at once, by autograd. Same results to
        rounding, which the processor decides on too with "native". "auto" is "native" where it has been compiled and
        covers what is asked for (docs/long_runs.md), else "torch".
    n_jobs : int, default=None
        Threads on which "native" trains clients; -1 is one a processor, None 1 or what `joblib.parallel_config` says.
        Moves no bit.
    device : str, default="cpu"
        Where to train: "cpu", "cuda", "cuda:1", ..., or "auto" for CUDA where there is one.
    random_state : int, RandomState instance or None, default=None
        Initial weights, order of rows, choice of participants. None takes fresh entropy from the system.
    suspects : {"auto", "warn", "drop", "ignore"}, default="auto"
        What becomes of training rows that look corrupt (`suspects_`, docs/trust.md), which clients look for before
        `fit` trains, from 20 rows in all on. "warn": they train, with a warning of more than clean tables have. "drop":
        they do not; a client without other rows takes no part. "ignore": nothing is looked at. "auto" is "warn" before
        a mixture, "ignore" where `tuning` is None. With privacy and in `partial_fit` nothing is looked at.
    verbose : int, default=0
        1 shows a progress bar (with tqdm, else about ten lines), 2 prints every round.
    warm_start : bool, default=False
        Whether `fit` goes on from the previous fit's weights, its preprocessing kept. It trains one network alone, and
        does not go on from a mixture.
    checkpoint_path : str or path-like, default=None
        File from which `fit`, killed and started again with the same rows and parameters, goes on, to end in the same
        bits. It stays: after the last round `fit` returns the model in it at once. One fit has one path. None keeps
        nothing. Of no consequence to `partial_fit`. A mixture's has all networks trained so far.
    checkpoint_every : int, default=10
        Rounds from one writing of that file to the next.

    Attributes
    ----------
    clients_ : ndarray of shape (K,)
        Labels of the clients, in the order of all per-client results; later ones are appended.
    n_samples_per_client_ : ndarray of shape (K,)
        Rows of each client that trained, accumulated over `partial_fit` and `warm_start`.
    modalities_ : dict of str to ndarray of int
        Columns of each modality.
    categories_ : dict of str to ndarray
        Sorted categories of each discrete column of a DataFrame, None last if values are missing: the union of
        those that the clients hold. Others, met later, count as unseen, for which a vector of zeros is kept.
    members_ : list of dict
        What predicts, the mixture first, the others by weight: "name", "view" (the pre-treatment), "weight", and
        "error", the root mean squared error on rows held out, in the units of y (lists, with several outputs); printed,
        a table of those that have a weight. With one network a row for it, whose error is None, and `members_.note`
        says why it is alone where a mixture was asked for.
    weights_ : dict of str to ndarray
        Parameters of the global model, Z centred and on its principal axes; of a mixture those of its network of most
        weight. So are `history_`, `n_rounds_`, `best_round_`, `shrinkage_` and what `diagnose` reads.
    component_variance_ : ndarray of shape (n_components,)
        Variance of each column of Z over the training rows, descending; of a mixture first of the predictions.
    shrinkage_ : float
        The shrinkage used.
    best_round_ : int
        With `early_stopping`, the round (from 1) whose model was kept, 0 for the weights before the first round:
        nothing could be learned. `history_["validation_mse"]` has the errors.
    feature_importances_ : ndarray of shape (n_features_in_,)
        How much each column of X moves the prediction, adding up to 1: of a numeric column s_j sqrt(mean
        (d y_hat / d x_j)^2), its spread times the root mean square Jacobian over training rows and (standardised)
        outputs; of a discrete column, the same for independent draws of its categories (`importance.importances`).
        From client sums at delivery. `SelectFromModel` and `RFE` read it.
    selected_features_ : ndarray of int
        Columns of X that Z depends on: fewer than all where `input_l1` has emptied some. Whitening mixes the columns
        of a modality, then all that vary count.
    history_ : mapping of str to ndarray
        The record of one network: of a mixture its network of most weight, which `diagnose` and `HistoryDisplay` name.
        Means over training rows of "loss", "mse", "mi", "kl", "contrastive" and "mi_nwj" (nats; a lower bound of
        I(Z; y) only on rows that the critic has not seen), each of shape (n_rounds_,), averaged over clients by size;
        and with the suffix "_per_client", of shape (n_rounds_, K), NaN for who was absent. Errors are of standardised
        y, of a network of residuals those of what a linear model leaves. A term whose
        weight is 0 is not computed and reported as 0. "drift" is the spread of the clients' weights about their
        average, relative to the round's step: sum_k p_k |w_k - w_{t+1}|^2 / |w_{t+1} - w_t|^2. With `early_stopping`
        "validation_mse" and "validation_mi_nwj" are those of the rows held out, (n_rounds_,), and
        "validation_mse_per_client" (n_rounds_, K) the error of each client on its own, NaN for who holds out none.
    history_frame_ : dict of str to ndarray
        The means of `history_` as a table with a row for each round: `pandas.DataFrame(model.history_frame_)`.
    client_history_frame_ : dict of str to ndarray
        What `history_` has of each client as a table with a row for each round and client.
    engine_ : str
        Which engine trained.
    dropped_clients_ : list of dict
        Who was left out of something, over all calls: "client", its label; "reason", "update not finite" (with any
        rule: parameters or loss were NaN or infinite) or "rows out of line" (the guard of the sums); and "rounds", from
        1, in which updates were dropped. Empty where nobody was left out.
    suspects_ : SuspectTable
        Training rows of the last `fit` that look corrupt: "client", "row" (of X as `fit` was given it), "reason",
        "modality" and "column"; of rows that are elsewhere "client", "reason" and "n_rows". A dict of columns.
    federation_log_ : FederationLog
        Every message between server and clients: a list of records (round, direction, what, shape, clients, bytes,
        seen), one a round and kind; `by_kind()` and `by_client()` add up. With privacy it counts the clients expected.
    epsilon_ : float
        Of all that clients have sent to this model, for adding or removing one of them; inf without privacy. Then
        `clients_` are numbers, `history_` has "clip_norm" alone, Z is neither centred nor on principal axes, and
        `n_samples_per_client_` and `component_variance_` do not exist.
    privacy_bill_ : list of dict
        What `epsilon_` adds up: "what", "noise_multiplier", "sampling_rate" and "times"; empty without privacy.
    n_rounds_ : int
        Rounds completed.
    n_features_in_ : int
        Columns of X in `fit`.
    feature_names_in_ : ndarray of str
        Their names, where X had names that are text; of columns with several levels "nir__1100" for ("nir", 1100).
    axis_ : ndarray of shape (n_features_in_,), or None
        The positions that names of columns give, which are numbers or text such as "1100", "1100,5 nm", "Abs@1100" or
        "nir__1100": in the unit of the names, NaN where a name gives none. Later DataFrames are held to them, however
        they write them: another order or a shift is a ValueError. None without such names: default ones (0, 1, 2, ...)
        are none, and an array is taken by position. All columns of a modality have a position there, or none has.

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
    __metadata_request__fit: ClassVar = {"client_ids": True, "groups": True}
    __metadata_request__partial_fit: ClassVar = {"client_ids": True, "groups": True}

    _parameter_constraints: ClassVar = CONSTRAINTS

    n_components: int = 2
    _: KW_ONLY
    modalities: Any = None
    encoders: Any = None
    hidden_layer_sizes: Any = "auto"
    modality_dim: int = 8
    fusion: str = "concat"
    head_hidden_layer_sizes: Any = ()
    mi_weight: float = 1e-3
    kl_weight: float = 1e-3
    contrastive_weight: float = 1e-3
    alignment: str = "homoscedastic"
    temperature: float = 0.5
    history_size: int = 3
    n_rounds: int = 60
    local_epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-2
    weight_decay: float | str = "auto"
    input_l1: float = 0.0
    modality_dropout: float = 0.0
    pretreatment: Any = "auto"
    preprocessing: str | None = "whiten"
    shrinkage: float | str = "auto"
    algorithm: str = "auto"
    proximal_weight: float = 0.1
    server_learning_rate: float | None = None
    server_momentum: float = 0.9
    aggregation: str = "mean"
    preaggregation: str | None = None
    n_byzantine: int = 0
    participation: float = 1.0
    availability: Any = None
    min_clients: int = 1
    dp_noise_multiplier: float = 0.0
    dp_clip_norm: float = inf
    dp_target_quantile: float | None = None
    dp_bounds: Any = None
    dp_delta: float | None = None
    engine: str = "auto"
    n_jobs: int | None = None
    device: str = "cpu"
    random_state: Any = None
    verbose: int = 0
    warm_start: bool = False
    checkpoint_path: str | os.PathLike[str] | None = None
    checkpoint_every: int = 10
    tuning: str | None = "mixture"
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    client_column: str | int | None = None
    groups_column: str | int | None = None
    suspects: str = "auto"

    def _validate_params(self) -> None:
        """Raise ValueError where a parameter has a value that it cannot have; of defaults nothing is asked."""
        given = {name: v for name, v in self.get_params(deep=False).items() if v is not getattr(type(self), name, ...)}
        validate_parameter_constraints(self._parameter_constraints, given, caller_name=type(self).__name__)
        check_pretreatment(self.pretreatment, self.tuning)

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        """Return the parameters' names, which scikit-learn reads off the signature, thousands of times a search."""
        return super()._get_param_names()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return parameters by name; if `deep`, also those of the encoders, in a dict or not."""
        params = super().get_params(deep=deep)
        if deep:
            params |= {f"encoders__{name}": value for name, value in nested_params(self.encoders).items()}
        return params

    def set_params(self, **params: Any) -> FDRMFLTransformer:
        """Set parameters by name; `encoders__...` sets those of encoders.

        Encoders are replaced by changed copies, so that nobody who shares them notices.
        """
        prefix = "encoders__"
        nested = {name[len(prefix) :]: value for name, value in params.items() if name.startswith(prefix)}
        super().set_params(**{name: value for name, value in params.items() if not name.startswith(prefix)})
        if nested:
            self.encoders = with_nested_params(self.encoders, nested)
        return self

    # ---------------------------------------------------------------------------------------- training

    @with_callbacks
    def fit(
        self, X: Any, y: ArrayLike, client_ids: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> FDRMFLTransformer:
        """Train for `n_rounds` rounds; in a mixture each network.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            With several modalities, a row that lacks some has NaN in all of their columns.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        client_ids : array-like of shape (n_samples,), default=None
            Label of the client that holds each row. None, without `client_column`: one client holds all, which is
            centralised training.
        groups : array-like of shape (n_samples,), default=None
            Rows that belong together, such as repeated measurements of one sample. Those of one client are never
            parted where it holds out rows (`early_stopping`, `tuning`); nor are rows of a client
            that are equal in X, with or without groups.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Bad input, before any training; or training diverged. The estimator is left as it was. So is a file at
            `checkpoint_path` that is not of this fit.
        KeyboardInterrupt, OSError
            Passed on after the finished rounds have been made the fitted model, and written to `checkpoint_path`: of a
            full disk as far as there is room.
        """
        task = CallbackTask.of_fit(self, X, y, self.n_rounds if self.tuning is None else None)
        return self._train(task, X, y, client_ids, groups)

    @with_callbacks
    def partial_fit(
        self, X: Any, y: ArrayLike, client_ids: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> FDRMFLTransformer:
        """Train one more round with whoever is there, at a constant learning rate.

        Parameters and errors are those of `fit`; nothing is held out, so `groups` change nothing. Preprocessing is
        fixed by the first call. Clients not met before are appended to `clients_`. Nothing goes on from a mixture:
        after one, a network alone begins anew, with a warning.
        """
        return self._train(CallbackTask.of_fit(self, X, y, None, "partial_fit"), X, y, client_ids, groups, whole=False)

    def _train(self, task: CallbackTask, *data: Any, whole: bool = True) -> FDRMFLTransformer:
        """Train on data, all of a fit or one round, and keep the result."""
        from skfdrmfl.fit.run_rounds import train_and_keep  # not at the top: processes that only predict start faster

        with single_threaded():
            train_and_keep(self, self._prepare_fit(*data, whole=whole), task)
        task.end(fitted=self._fitted.attributes)
        return self

    def _prepare_fit(self, X: Any, y: Any, client_ids: Any, groups: Any = None, *, whole: bool = True) -> Ready:
        """Return a fit that is ready to train, or one round."""
        from skfdrmfl.fit.prepare import prepare

        earlier = vars(self).get("_fitted") if self.warm_start or not whole else None
        if not whole and earlier is not None and earlier.mixture is not None:
            warn_caller(
                "partial_fit begins a network alone anew, as none goes on from the mixture that was fitted; fit "
                "with tuning=None to go on from a fit."
            )
            earlier = None
        return prepare(self, X, y, client_ids, groups, earlier=earlier, whole=whole)

    def _draft(self) -> FDRMFLTransformer:
        """Return a copy on which input can be checked: bad input then leaves the estimator as it was."""
        draft = object.__new__(type(self))
        draft.__dict__.update(vars(self))
        return draft

    def _keep(self, fitted: Fitted) -> None:
        """Make what a fit leaves that of this estimator."""
        self.__dict__.pop("feature_names_in_", None)
        self.__dict__.update(fitted.attributes())

    # ---------------------------------------------------------------------------------------- using it

    def transform(self, X: Any) -> NDArray:
        """Return the learned features Z.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Centred over the training rows, on principal axes, ordered by variance; float32 for float32 X. Of a mixture
            the predictions of standardised y (their principal axes, with fewer components than outputs), then
            directions that are uncorrelated with them, and with what they leave of y.
        """
        return self._evaluate(X)[0]

    def predict(self, X: Any) -> NDArray:
        """Return the prediction y_hat, the mixture's or the head's f(Z), in the units of y.

        `OutsideDomainWarning` (`skfdrmfl.OutsideDomainWarning`) once a call where rows lie far outside the training
        rows: more than ten times as far, in T2 or Q of `domain`, as 99 of 100 of these, and farther than any of them.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        table, present = self._read(X)
        with single_threaded():
            self._warn_if_far(table, present)
            return self._fitted.evaluate(table, present)[1]

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R² of `predict`.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        return super().score(X, y, sample_weight)

    def _evaluate(self, X: Any) -> tuple[NDArray, NDArray]:
        """Return Z and predictions of the rows of X."""
        table, present = self._read(X)
        with single_threaded():
            return self._fitted.evaluate(table, present)

    def _read(self, X: Any) -> tuple[NDArray, NDArray | None]:
        """Return the checked rows of X as numbers, and which modalities each has (None: all)."""
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        network_spec = self._fitted.network_spec
        if are_plain_numbers(X, self._fitted):
            table, present = X, None
        else:
            check_same_rows(X=X)
            table = validate_data(
                self,
                with_codes(self, self._fitted.table_of(X), network_spec.categories, reset=False, warn=True),
                reset=False,
                dtype=[np.float64, np.float32],
                ensure_all_finite=False,  # as `present_in` says which rows are not
            )
            present = present_in(table, network_spec.modalities, network_spec.categories)
        network_spec.check_rows(table, present)
        return table, present

    def diagnose(self) -> Diagnosis:
        """Return what the training record says went wrong; of a mixture that of its network of most weight.

        Looks for suspect rows, a collapsed information estimate, one that was memorised, alignment that fights
        prediction, stale contrastive anchors, client drift, too few rounds, rounds without clients, client imbalance, a
        client left behind, divergence, rows far from all others, and clients left out.

        Returns
        -------
        Diagnosis
            A list of dicts of "name", "finding", "evidence" and "remedy"; empty if nothing is wrong. Printed, it
            is a report.
        """
        check_is_fitted(self)
        if self._fitted.account is not None:
            return Diagnosis((), "nothing to judge: with privacy, losses are not recorded")
        found = diagnose(
            TrainingHistory(
                self.history_,
                self.n_samples_per_client_.astype(np.float64),
                self.clients_.tolist(),
                {term: getattr(self, weight) for term, weight in weight_of_each_term().items()},
                self.dropped_clients_,
                self._fitted.tails,
                self._fitted.lead_algorithm or value_of(self, "algorithm"),
                self._fitted.central,
                self._fitted.lead_learns_residual,
                {} if self.suspects == "drop" else self.suspects_.alarming(int(self.n_samples_per_client_.sum())),
            )
        )
        if self._fitted.lead:
            found.summary = f"{self._fitted.lead} of a mixture: {found.summary}"
        return found

    # --------------------------------------------------------------------------------------- saving it

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, without pickle: a npz with JSON inside.

        The file appears whole or not at all; what stood there stays until then.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        NotFittedError
        TypeError
            The estimator holds what no such file can, such as a `TorchEncoder`, a callable selector, or a
            `RandomState`; the message names it. `joblib.dump` takes these too.
        """
        check_is_fitted(self)
        save(self, self._fitted, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FDRMFLTransformer:
        """Return the fitted estimator from a file that `save` has written; `transform` gives equal bits.

        Nothing in the file is ever run, whoever wrote it.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        ValueError
            The file is damaged, of another kind, or of a version that this one cannot read.
        """
        return load(cls, path)

    # ------------------------------------------------------------------------------------ scikit-learn

    def __sklearn_is_fitted__(self) -> bool:
        return "_fitted" in vars(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        fitted = vars(self).get("_fitted")
        modalities = self.modalities if fitted is None else fitted.network_spec.modalities
        is_one = modalities is None or (isinstance(modalities, Mapping) and len(modalities) == 1)
        tags.input_tags.allow_nan = not is_one  # of modalities that a row lacks
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_skfdrmfl_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        warn_of_version(type(self), state.pop("_skfdrmfl_version", "an unknown version"), stacklevel=3)
        super().__setstate__(state)
