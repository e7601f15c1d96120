"""The EEG classifier: networks by name behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from skorch.callbacks import Callback

from hypeeg.eeg.classifier_network import (
    DEFAULT_MODEL,
    TABLE_MODEL,
    build_network,
    check_model_params,
    check_params,
    takes_domains,
    warn_of_scale,
)
from hypeeg.nn import HyperbolicMLP
from hypeeg.training import HyperbolicClassifier
from hypeeg.training.data import Augmentation
from hypeeg.training.domains import DomainData

__all__ = ["HypEEGClassifier", "check_model_params"]

_DOMAIN_ARRAYS = {"subject": "subjects", "session": "sessions"}


class HypEEGClassifier(HyperbolicClassifier):
    """Classify EEG trials with a hyperbolic network, or with any braindecode network.

    Trials ``(n_trials, n_channels, n_times)`` go to the network named by `model`; MNE epochs may
    be given as they are.  Features ``(n_trials, n_features)`` go to a small hyperbolic network,
    :class:`hypeeg.nn.HyperbolicMLP`, after standardisation to the training trials.  All networks
    share one training loop, so that a hyperbolic network and its Euclidean twin differ in nothing
    but the geometry.

    Parameters
    ----------
    model : str, default "HyperbolicEEGNet"
        A network of hypeeg, or a braindecode model class such as ``"EEGNet"``.
    model_params : dict or None, default None
        Arguments of the network.  Sizes, `sfreq`, curvature and channel names have their own
        places and must not be among them.
    max_epochs : int, default 60
        Passes over the training trials.
    batch_size : int, default 64
        Trials a step sees.
    lr : float, default 2e-3
        Learning rate at the start.
    weight_decay : float, default 1e-2
        Decoupled weight decay.
    optimizer : "radamw", "radam" or "adamw", default "radamw"
        Riemannian AdamW or Adam, or AdamW on all coordinates (a baseline: points do not follow c).
    lr_schedule : "cosine" or None, default "cosine"
        Cosine decay of the learning rate to 0 over `max_epochs`.
    curvature : "learned", "sharpness_aware" or "fixed", default "learned"
        Whether the curvature is trained: by the training loss with the weights, by the loss at
        perturbed weights (:class:`hypeeg.optim.sharpness.SharpnessAwareCurvature`, a fifth more
        time), or not.  Like the next six, of no effect on Euclidean networks.
    c : float, default 1.0
        Curvature magnitude at the start; the space has curvature -c.
    curvature_lr : float, default 1e-2
        Learning rate of log c.
    curvature_move : "exp", "scale" or "none", default "scale"
        How parameters on the manifold follow a change of c; "none" is a baseline.
    curvature_gradient : "autograd" or "consistent", default "autograd"
        Which derivative of the loss in c is followed; for ``curvature="learned"``.
    sharpness_rho : float, default 0.05
        Length of the perturbation of the weights, for ``curvature="sharpness_aware"``.
    sharpness_every : int, default 5
        Training steps from one step of the curvature to the next, likewise.
    early_stopping : bool, default False
        Hold out validation trials and keep the weights of the epoch where their loss is least.
    patience : int, default 15
        Epochs without a new minimum before stopping.
    validation_fraction : float, default 0.2
        Share of the trials held out, with the classes in proportion.
    class_weight : "balanced", dict or None, default None
        Weight of each class in the loss, keyed by label.
    class_groups : dict of list or None, default None
        Labels by name of group, the cross entropy of which is added to that of the classes.
    augmentation : list of str or dict, or None, default None
        Transforms of :mod:`braindecode.augmentation`, applied to training batches in this order:
        a name, or ``{"name": ..., "probability": ..., ...}`` with its arguments.
    refresh_batch_norm : bool, default True
        Compute batch-norm statistics anew from the training trials when training ends.
    compile : bool, default False
        Send training passes through :func:`torch.compile`: faster steps on a GPU, once
        compiled.
    domain : "subject", "session" or None, default None
        Which of `subjects` and `sessions` given to :meth:`fit` says a trial's domain.  Networks
        with statistics for each domain (``HyperbolicEEGNetDSBN``, ``EEGNetDSBN``) then normalise
        each trial by its domain; others have no use for it.
    unseen : {"block", "source"}, default "block"
        Statistics with which such a network predicts, if the fit saw no trial of the target: those
        of the block of trials that is given to ``predict`` and its like, which must be two or more
        (transductive: a prediction depends on the other trials of the block), or the mean of the
        training domains' statistics, with which every trial is predicted on its own.
    adapt_batch_norm : bool, default False
        Give ordinary batch normalisation the statistics of the target's trials, if the fit gets
        any, in the place of the training trials' [1]_.
    sfreq : float or None, default None
        Sampling rate in Hz, for networks that ask for it.  Read from MNE epochs.
    ch_names : list of str or None, default None
        Channel names, for networks that use positions.  Read from MNE epochs.
    device : str, default "auto"
        ``"auto"`` takes CUDA, else MPS, else the CPU.
    random_state : int, RandomState or None, default None
        Seeds everything that is random in a fit; global generators are left alone.
    callbacks : list of skorch callbacks or None, default None
        Called besides the estimator's own.
    verbose : int, default 0
        Above 0, every epoch is logged at level INFO.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Labels, sorted.
    n_features_in_ : int
        Channels, or features of 2-D input.
    feature_names_in_ : ndarray of str
        Column names, when `X` was a data frame.
    n_chans_, n_times_ : int or None
        Channels and samples of a trial; None after a fit on features.
    sfreq_ : float or None
        Sampling rate in Hz, if known.
    ch_names_ : list of str or None
        Channel names, if known.
    domains_ : list of str or int, or None
        Domains of the training trials.
    module_, net_, input_shape_, history_, curvature_, curvature_history_, n_iter_, seed_
        See :class:`hypeeg.training.HyperbolicClassifier`.

    Notes
    -----
    ``subjects``, ``sessions`` and the trials of the target come as scikit-learn's metadata, under
    the names that MOABB gives them.  The estimator requests those that its parameters need; more
    are requested by ``set_fit_request``.  Prediction is told nothing: the trials are taken for
    those of the target, the domain that the fit did not train on.

    References
    ----------
    .. [1] Y. Li et al.: Adaptive batch normalization for practical domain adaptation, Pattern
       Recognition 80 (2018) 109-117.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((20, 4, 128)).astype("float32")
    >>> y = np.array(["left", "right"] * 10)
    >>> clf = HypEEGClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> clf.predict(X).shape
    (20,)
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        model_params: Mapping[str, Any] | None = None,
        max_epochs: int = 60,
        batch_size: int = 64,
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        optimizer: Literal["radamw", "radam", "adamw"] = "radamw",
        lr_schedule: Literal["cosine"] | None = "cosine",
        curvature: Literal["learned", "sharpness_aware", "fixed"] = "learned",
        c: float = 1.0,
        curvature_lr: float = 1e-2,
        curvature_move: Literal["exp", "scale", "none"] = "scale",
        curvature_gradient: Literal["autograd", "consistent"] = "autograd",
        sharpness_rho: float = 0.05,
        sharpness_every: int = 5,
        early_stopping: bool = False,
        patience: int = 15,
        validation_fraction: float = 0.2,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        class_groups: Mapping[str, Sequence[Any]] | None = None,
        augmentation: Sequence[str | Mapping[str, Any]] | None = None,
        refresh_batch_norm: bool = True,
        compile: bool = False,
        domain: Literal["subject", "session"] | None = None,
        unseen: Literal["block", "source"] = "block",
        adapt_batch_norm: bool = False,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        callbacks: Sequence[Callback] | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            optimizer=optimizer,
            lr_schedule=lr_schedule,
            curvature=curvature,
            c=c,
            curvature_lr=curvature_lr,
            curvature_move=curvature_move,
            curvature_gradient=curvature_gradient,
            sharpness_rho=sharpness_rho,
            sharpness_every=sharpness_every,
            early_stopping=early_stopping,
            patience=patience,
            validation_fraction=validation_fraction,
            class_weight=class_weight,
            class_groups=class_groups,
            refresh_batch_norm=refresh_batch_norm,
            compile=compile,
            device=device,
            random_state=random_state,
            callbacks=callbacks,
            verbose=verbose,
        )
        self.model = model
        self.model_params = model_params
        self.augmentation = augmentation
        self.domain = domain
        self.unseen = unseen
        self.adapt_batch_norm = adapt_batch_norm
        self.sfreq = sfreq
        self.ch_names = ch_names

    def get_metadata_routing(self) -> Any:
        """Return what a fit requests: what was set, and what `domain` and the like need.

        Returns
        -------
        MetadataRequest
            See scikit-learn's guide to metadata routing.
        """
        routing = super().get_metadata_routing()
        needed: list[str] = []
        if self.domain in _DOMAIN_ARRAYS:
            needed += [_DOMAIN_ARRAYS[self.domain], "X_target_labeled", "y_target_labeled"]
        if self.domain is not None or self.adapt_batch_norm:
            needed.append("X_target_unlabeled")
        for name in needed:
            if routing.fit.requests.get(name) is None:  # neither asked for nor refused
                routing.fit.add_request(param=name, alias=True)
        return routing

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        subjects: Any = None,
        sessions: Any = None,
        X_target_unlabeled: Any = None,
        X_target_labeled: Any = None,
        y_target_labeled: Any = None,
    ) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array-like, shape (n_trials, n_channels, n_times) or (n_trials, n_features), or Epochs
            Trials.  Amplitudes should be of order one (microvolts, or standardised), not volts.
        y : array-like, shape (n_trials,)
            Labels.  May be left out for MNE epochs only: their event names are taken.
        subjects, sessions : array-like, shape (n_trials,), optional
            Subject, and session (unique among all subjects), of each trial; the one that `domain`
            names is needed, the other ignored.
        X_target_unlabeled : array-like, shape (n, ...), or Epochs, optional
            Two or more trials of the domain that will be predicted, without labels.  When training
            has ended, the target's statistics are computed from them; used with `domain` or
            `adapt_batch_norm`.
        X_target_labeled, y_target_labeled : array-like, optional
            Two or more trials of that domain with their labels, which are trained on as well, as
            trials of a domain of their own.

        Returns
        -------
        self
            Fitted.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; the message says which and why.
        TrainingDivergedError
            If the loss or a weight stops being finite.
        """
        domains = self._domains_of(subjects, sessions)
        self.sfreq_ = None if self.sfreq is None else float(self.sfreq)
        self.ch_names_ = None if self.ch_names is None else list(self.ch_names)
        if _is_epochs(X):
            y = _event_names(X) if y is None else y
            self._check_info(X)
            self.sfreq_, self.ch_names_ = float(X.info["sfreq"]), list(X.ch_names)
            X = X.get_data(copy=False)
        if _is_epochs(X_target_labeled) and y_target_labeled is None:
            y_target_labeled = _event_names(X_target_labeled)
        given = DomainData(
            domains=domains,
            X_target_unlabeled=self._signals(X_target_unlabeled),
            X_target_labeled=self._signals(X_target_labeled),
            y_target_labeled=y_target_labeled,
            adapt_batch_norm=self.adapt_batch_norm,
            unseen=self.unseen,
        )
        return self._fit(X, y, given)

    def _domains_of(self, subjects: Any, sessions: Any) -> Any:
        """Return the array that says each trial's domain, None without domains."""
        choices = {"domain": (None, *_DOMAIN_ARRAYS), "unseen": ("block", "source")}
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")
        if self.domain is None:
            return None
        domains = subjects if self.domain == "subject" else sessions
        if domains is None:
            name = _DOMAIN_ARRAYS[self.domain]
            raise ValueError(
                f"domain={self.domain!r} needs {name}: call fit(X, y, {name}=...), within a "
                "Pipeline or a cross-validation with sklearn.set_config("
                "enable_metadata_routing=True), or set domain=None"
            )
        return domains

    def _signals(self, trials: Any) -> Any:
        """Return the signals of MNE epochs that match those of the fit; anything else as it is."""
        if not _is_epochs(trials):
            return trials
        self._check_info(trials)
        return trials.get_data(copy=False)

    def _check_info(self, epochs: Any) -> None:
        known = getattr(self, "sfreq_", None)
        if known is not None and not np.isclose(known, epochs.info["sfreq"]):
            raise ValueError(
                f"these epochs have sfreq={epochs.info['sfreq']} Hz, but {type(self).__name__} "
                f"has {known} Hz; resample them"
            )
        names = getattr(self, "ch_names_", None)
        if names is not None and list(names) != list(epochs.ch_names):
            raise ValueError(
                f"these epochs have the channels {epochs.ch_names}, but {type(self).__name__} "
                f"has {list(names)}; pick the same channels in the same order"
            )

    def _checked(self, X: Any) -> np.ndarray:
        return super()._checked(self._signals(X))

    def _shape_message(self, expected: tuple[int, ...], got: tuple[int, ...]) -> str:
        name = type(self).__name__
        if got[0] != expected[0]:
            return (
                f"X has {got[0]} channels, but {name} was fitted on {expected[0]}; pick the same "
                "channels in the same order, or fit again"
            )
        return (
            f"X has {got[1]} samples a trial (n_times), but {name} was fitted on {expected[1]}; "
            "crop or resample the trials as for the fit, or fit again"
        )

    def _module_config(self, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        params = dict(self.model_params or {})
        if X.ndim == 2:
            if self.model not in (DEFAULT_MODEL, TABLE_MODEL):
                raise ValueError(
                    f"model={self.model!r} needs trials (n_trials, n_channels, n_times), but X has "
                    f"shape {X.shape}; give such trials, or leave model out to classify features"
                )
            check_params(TABLE_MODEL, HyperbolicMLP, params)
            self.n_chans_ = self.n_times_ = None
            scale = X.std(axis=0, dtype=np.float64)
            return {
                "model": TABLE_MODEL,
                "params": params,
                "n_features": X.shape[1],
                "mean": X.mean(axis=0, dtype=np.float64).tolist(),
                # A feature that does not vary tells nothing: leave it at zero.
                "scale": np.where(scale > 0, scale, 1.0).tolist(),
            }
        if X.ndim != 3:
            raise ValueError(
                f"X has shape {X.shape}; give trials (n_trials, n_channels, n_times) or features "
                "(n_trials, n_features)"
            )
        check_model_params(self.model, params)
        if self.ch_names_ is not None and len(self.ch_names_) != X.shape[1]:
            raise ValueError(
                f"ch_names has {len(self.ch_names_)} names, but X has {X.shape[1]} channels; "
                "give one name for each channel"
            )
        warn_of_scale(X)
        self.n_chans_, self.n_times_ = X.shape[1:]
        n_domains = None
        if self.domains_ is not None and takes_domains(self.model):
            n_domains = len(self.domains_) + 1  # the target is the last one
        return {
            "model": self.model,
            "params": params,
            "n_chans": self.n_chans_,
            "n_times": self.n_times_,
            "sfreq": self.sfreq_,
            "ch_names": self.ch_names_,
            "n_domains": n_domains,
        }

    def _augmentation(self, seed: int) -> Augmentation | None:
        if not self.augmentation:
            return None
        from hypeeg.eeg.augmentation import make_augmentation

        return make_augmentation(
            self.augmentation,
            sfreq=self.sfreq_,
            ch_names=self.ch_names_,
            seed=seed,
            domains=self.domain is not None,
        )

    def _build_module(self, config: dict[str, Any]) -> torch.nn.Module:
        return build_network(config, c=self.c, learnable_curvature=self.curvature != "fixed")


def _is_epochs(X: Any) -> bool:
    return all(hasattr(X, name) for name in ("get_data", "info", "event_id"))


def _event_names(epochs: Any) -> np.ndarray:
    names = {code: name for name, code in epochs.event_id.items()}
    return np.array([names[code] for code in epochs.events[:, 2]])
