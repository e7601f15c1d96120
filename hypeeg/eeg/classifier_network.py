"""Networks by name: which arguments they take, and how they are built for given trials."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hypeeg.nn import HyperbolicMLP

TABLE_MODEL = "HyperbolicMLP"
DEFAULT_MODEL = "HyperbolicEEGNet"
# Arguments of a network that follow from the data, and those that have a parameter of their own.
_FROM_DATA = ("n_chans", "n_outputs", "n_times", "chs_info", "input_window_seconds", "sfreq")
_FROM_ESTIMATOR = {"c": "c", "learnable_curvature": "curvature", "n_domains": "domain"}


def takes_domains(model: str) -> bool:
    """Tell whether a network's ``forward`` takes ``domain``: if it takes ``n_domains`` when made.

    Parameters
    ----------
    model : str
        Name of the network.
    """
    return "n_domains" in inspect.signature(network_class(model)).parameters


def network_class(name: str) -> Any:
    """Return the class of a network for trials.

    Raises
    ------
    ValueError
        If there is none of that name, or it takes features.
    """
    from hypeeg.eeg.models.registry import get_model_class  # braindecode takes seconds to import

    if name == TABLE_MODEL:
        raise ValueError(
            f"model={name!r} takes features (n_trials, n_features), not trials; use "
            f"model={DEFAULT_MODEL!r} for trials"
        )
    return get_model_class(name)


def build_network(
    config: Mapping[str, Any], *, c: float, learnable_curvature: bool
) -> torch.nn.Module:
    """Make the network that a description stands for.

    Parameters
    ----------
    config : mapping
        As :meth:`hypeeg.HypEEGClassifier._module_config` writes it.
    c : float
        Curvature magnitude at the start, for networks that have one.
    learnable_curvature : bool
    """
    if config["model"] == TABLE_MODEL:
        network = HyperbolicMLP(
            config["n_features"],
            config["n_outputs"],
            c=c,
            learnable_curvature=learnable_curvature,
            **config["params"],
        )
        return _Standardised(network, config["mean"], config["scale"])
    cls = network_class(config["model"])
    offered: dict[str, Any] = {
        "n_chans": config["n_chans"],
        "n_outputs": config["n_outputs"],
        "n_times": config["n_times"],
        "sfreq": config["sfreq"],
        "c": c,
        "learnable_curvature": learnable_curvature,
        # Models saved before there were domains have no such entry.
        "n_domains": config.get("n_domains"),
    }
    accepted = inspect.signature(cls).parameters
    if config["ch_names"] is not None and "chs_info" in accepted:
        offered["chs_info"] = channel_info(config["ch_names"], config["sfreq"])
    known = {k: v for k, v in offered.items() if k in accepted and v is not None}
    module: torch.nn.Module = cls(**known, **config["params"])
    return module


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
    check_params(model, network_class(model), params)


def check_params(name: str, cls: Any, params: Mapping[str, Any]) -> None:
    """Check arguments against the signature of a network's class."""
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


def channel_info(ch_names: Sequence[str], sfreq: float | None) -> list[dict[str, Any]]:
    """Return MNE's ``info["chs"]`` for channel names, with positions where a name has one."""
    import mne

    info = mne.create_info(list(ch_names), sfreq or 1.0, "eeg")
    # The same positions under the name that MNE gave them later.
    montage = "colin27_1005"
    if montage not in mne.channels.get_builtin_montages():
        montage = "standard_1005"
    info.set_montage(montage, match_case=False, on_missing="ignore", verbose="error")
    chs: list[dict[str, Any]] = info["chs"]
    return chs


def warn_of_scale(X: np.ndarray) -> None:
    """Warn of trials in volts."""
    spread = float(np.median(X.std(axis=(0, 2))))
    if spread < 1e-3:
        warnings.warn(
            f"the trials in X are small (median standard deviation of a channel {spread:.1e}, "
            "volts?): networks learn little from that; standardise them or scale to microvolts",
            UserWarning,
            stacklevel=5,
        )


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
