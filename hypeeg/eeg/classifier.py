"""The EEG classifier: networks by name behind scikit-learn's interface."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from skorch.callbacks import Callback

from hypeeg.nn import HyperbolicMLP
from hypeeg.training import HyperbolicClassifier

_TABLE_MODEL = "HyperbolicMLP"
_DEFAULT_MODEL = "HyperbolicEEGNet"
# Arguments of a network that follow from the data, and those that have a parameter of their own.
_FROM_DATA = ("n_chans", "n_outputs", "n_times", "chs_info", "input_window_seconds", "sfreq")
_FROM_ESTIMATOR = {"c": "c", "learnable_curvature": "curvature"}


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
    curvature_move : "exp" or "scale", default "scale"
        How parameters on the manifold follow a change of c.
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
    refresh_batch_norm : bool, default True
        Compute batch-norm statistics anew from the training trials when training ends.
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
    module_, net_, input_shape_, history_, curvature_, curvature_history_, n_iter_, seed_
        See :class:`hypeeg.training.HyperbolicClassifier`.

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
        model: str = _DEFAULT_MODEL,
        *,
        model_params: Mapping[str, Any] | None = None,
        max_epochs: int = 60,
        batch_size: int = 64,
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        lr_schedule: Literal["cosine"] | None = "cosine",
        curvature: Literal["learned", "sharpness_aware", "fixed"] = "learned",
        c: float = 1.0,
        curvature_lr: float = 1e-2,
        curvature_move: Literal["exp", "scale"] = "scale",
        curvature_gradient: Literal["autograd", "consistent"] = "autograd",
        sharpness_rho: float = 0.05,
        sharpness_every: int = 5,
        early_stopping: bool = False,
        patience: int = 15,
        validation_fraction: float = 0.2,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        refresh_batch_norm: bool = True,
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
            refresh_batch_norm=refresh_batch_norm,
            device=device,
            random_state=random_state,
            callbacks=callbacks,
            verbose=verbose,
        )
        self.model = model
        self.model_params = model_params
        self.sfreq = sfreq
        self.ch_names = ch_names

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array-like, shape (n_trials, n_channels, n_times) or (n_trials, n_features), or Epochs
            Trials.  Amplitudes should be of order one (microvolts, or standardised), not volts.
        y : array-like, shape (n_trials,)
            Labels.  May be left out for MNE epochs only: their event names are taken.

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
        self.sfreq_ = None if self.sfreq is None else float(self.sfreq)
        self.ch_names_ = None if self.ch_names is None else list(self.ch_names)
        if _is_epochs(X):
            if y is None:
                names = {code: name for name, code in X.event_id.items()}
                y = np.array([names[code] for code in X.events[:, 2]])
            self._check_info(X)
            self.sfreq_, self.ch_names_ = float(X.info["sfreq"]), list(X.ch_names)
            X = X.get_data(copy=False)
        super().fit(X, y)
        return self

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
        if _is_epochs(X):
            self._check_info(X)
            X = X.get_data(copy=False)
        return super()._checked(X)

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
            if self.model not in (_DEFAULT_MODEL, _TABLE_MODEL):
                raise ValueError(
                    f"model={self.model!r} needs trials (n_trials, n_channels, n_times), but X has "
                    f"shape {X.shape}; give such trials, or leave model out to classify features"
                )
            _check_params(_TABLE_MODEL, HyperbolicMLP, params)
            self.n_chans_ = self.n_times_ = None
            scale = X.std(axis=0, dtype=np.float64)
            return {
                "model": _TABLE_MODEL,
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
        _warn_of_scale(X)
        self.n_chans_, self.n_times_ = X.shape[1:]
        return {
            "model": self.model,
            "params": params,
            "n_chans": self.n_chans_,
            "n_times": self.n_times_,
            "sfreq": self.sfreq_,
            "ch_names": self.ch_names_,
        }

    def _build_module(self, config: dict[str, Any]) -> torch.nn.Module:
        if config["model"] == _TABLE_MODEL:
            network = HyperbolicMLP(
                config["n_features"],
                config["n_outputs"],
                c=self.c,
                learnable_curvature=self.curvature != "fixed",
                **config["params"],
            )
            return _Standardised(network, config["mean"], config["scale"])
        cls = _network(config["model"])
        offered: dict[str, Any] = {
            "n_chans": config["n_chans"],
            "n_outputs": config["n_outputs"],
            "n_times": config["n_times"],
            "sfreq": config["sfreq"],
            "c": self.c,
            "learnable_curvature": self.curvature != "fixed",
        }
        accepted = inspect.signature(cls).parameters
        if config["ch_names"] is not None and "chs_info" in accepted:
            offered["chs_info"] = _channel_info(config["ch_names"], config["sfreq"])
        known = {k: v for k, v in offered.items() if k in accepted and v is not None}
        module: torch.nn.Module = cls(**known, **config["params"])
        return module


class _Standardised(torch.nn.Module):
    """A network behind a fixed shift and scale of each feature.

    Parameters
    ----------
    network : torch.nn.Module
        Takes and returns (n_trials, n).
    mean, scale : sequence of float
        One of each per feature.
    """

    def __init__(
        self, network: torch.nn.Module, mean: Sequence[float], scale: Sequence[float]
    ) -> None:
        super().__init__()
        self.network = network
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    @property
    def manifold(self) -> Any:
        return self.network.manifold

    @property
    def final_layer(self) -> Any:
        return self.network.final_layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.network((x - self.mean) / self.scale)
        return scores


def _is_epochs(X: Any) -> bool:
    return all(hasattr(X, name) for name in ("get_data", "info", "event_id"))


def _network(name: str) -> Any:
    from hypeeg.eeg.models.registry import get_model_class  # braindecode takes seconds to import

    if name == _TABLE_MODEL:
        raise ValueError(
            f"model={name!r} takes features (n_trials, n_features), not trials; use "
            f"model={_DEFAULT_MODEL!r} for trials"
        )
    return get_model_class(name)


def check_model_params(model: str, params: Mapping[str, Any]) -> None:
    """Check arguments of a network before anything is trained.

    Parameters
    ----------
    model : str
        Name of the network.
    params : mapping
        What would be its `model_params`.

    Raises
    ------
    ValueError
        If the network is unknown or does not take one of them, naming those it takes.
    """
    _check_params(model, _network(model), params)


def _check_params(name: str, cls: Any, params: Mapping[str, Any]) -> None:
    # **kwargs of a network is no licence: braindecode's EEGNet swallows misspelt names by it.
    named = [
        p.name
        for p in inspect.signature(cls).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    reserved = (*_FROM_DATA, "in_features", *_FROM_ESTIMATOR)
    for key in params:
        if key in _FROM_ESTIMATOR:
            raise ValueError(
                f"model_params holds {key!r}, which has its own parameter; "
                f"set {_FROM_ESTIMATOR[key]} of the estimator instead"
            )
        if key in reserved:
            raise ValueError(
                f"model_params holds {key!r}, which follows from the data"
                + ("; set sfreq of the estimator instead" if key == "sfreq" else "; remove it")
            )
        if key not in named:
            accepted = ", ".join(p for p in named if p not in reserved)
            raise ValueError(
                f"model_params holds {key!r}, which {name} does not take; it takes {accepted}"
            )


def _channel_info(ch_names: Sequence[str], sfreq: float | None) -> list[dict[str, Any]]:
    import mne

    info = mne.create_info(list(ch_names), sfreq or 1.0, "eeg")
    # The same positions under the name that MNE gave them later.
    montage = "colin27_1005"
    if montage not in mne.channels.get_builtin_montages():
        montage = "standard_1005"
    info.set_montage(montage, match_case=False, on_missing="ignore", verbose="error")
    chs: list[dict[str, Any]] = info["chs"]
    return chs


def _warn_of_scale(X: np.ndarray) -> None:
    spread = float(np.median(X.std(axis=(0, 2))))
    if spread < 1e-3:
        warnings.warn(
            f"the trials in X are small (median standard deviation of a channel {spread:.1e}, "
            "volts?): networks learn little from that; standardise them or scale to microvolts",
            UserWarning,
            stacklevel=4,
        )
