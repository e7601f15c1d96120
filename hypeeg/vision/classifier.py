"""The image classifier: networks by name behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from skorch.callbacks import Callback

from hypeeg.geometry import Lorentz
from hypeeg.training import HyperbolicClassifier
from hypeeg.training.data import Augmentation
from hypeeg.vision.augmentation import CropFlip
from hypeeg.vision.euclidean import ResNet
from hypeeg.vision.hybrid import HybridResNet
from hypeeg.vision.names import HYPERBOLIC_MODELS, MODEL_PARAMS, MODELS
from hypeeg.vision.resnet import LorentzResNet

_CLASSES: dict[str, Any] = {
    "LorentzResNet": LorentzResNet,
    "HybridResNet": HybridResNet,
    "ResNet": ResNet,
}


class HypVisionClassifier(HyperbolicClassifier):
    """Classify images with a hyperbolic residual network, or with its Euclidean twin.

    All networks share one training loop, blocks and widths, so that they differ in nothing but the
    geometry.  Channels are standardised to the training images inside the network.

    Parameters
    ----------
    model : {"LorentzResNet", "HybridResNet", "ResNet"}, default "HybridResNet"
        Every layer on the hyperboloid, the head alone, or none.
    model_params : dict or None, default None
        Arguments of the network, such as ``blocks``, ``widths``, ``head``.  Sizes and curvature
        have their own places and must not be among them.
    crop : int, default 0
        Pixels by which training images are shifted at random, at most.
    flip : bool, default False
        Whether every second training image is mirrored.
    max_epochs, batch_size, lr, weight_decay, optimizer, lr_schedule
        See :class:`hypeeg.training.HyperbolicClassifier`, like all that follow.
    curvature, c, curvature_lr, curvature_move, curvature_gradient
        How the curvature is learned.
    sharpness_rho, sharpness_every
        Likewise, for ``curvature="sharpness_aware"``.
    early_stopping, patience, validation_fraction
        Validation images are held out of the training images.
    class_weight, class_groups, refresh_batch_norm, compile, device, random_state, callbacks
        See there.
    verbose
        See there.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Labels, sorted.
    module_, net_, input_shape_, history_, curvature_, curvature_history_, n_iter_, seed_
        See :class:`hypeeg.training.HyperbolicClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    >>> y = np.array(["cat", "dog"] * 10)
    >>> params = {"blocks": [1], "widths": [8]}
    >>> clf = HypVisionClassifier(model_params=params, max_epochs=1, random_state=0).fit(X, y)
    >>> clf.predict(X).shape
    (20,)
    """

    def __init__(
        self,
        model: str = "HybridResNet",
        *,
        model_params: Mapping[str, Any] | None = None,
        crop: int = 0,
        flip: bool = False,
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
        refresh_batch_norm: bool = True,
        compile: bool = False,
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
        self.crop = crop
        self.flip = flip

    def _module_config(self, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        check_network(self.model, self.model_params or {})
        if X.ndim != 4:
            raise ValueError(
                f"X has shape {X.shape}; give images (n_images, n_channels, height, width)"
            )
        scale = X.std(axis=(0, 2, 3), dtype=np.float64)
        return {
            "model": self.model,
            "params": dict(self.model_params or {}),
            "in_channels": X.shape[1],
            "mean": X.mean(axis=(0, 2, 3), dtype=np.float64).tolist(),
            "scale": np.where(scale > 0, scale, 1.0).tolist(),
        }

    def _build_module(self, config: dict[str, Any]) -> torch.nn.Module:
        options = dict(config["params"])
        if config["model"] in HYPERBOLIC_MODELS:
            options["manifold"] = Lorentz(self.c, learnable=self.curvature != "fixed")
        if config["model"] == "LorentzResNet":
            width = options.get("widths", (512,))[-1]  # logits of the size of the twin's
            power = 0.5 if options.get("head", "mlr") == "mlr" else 1.0
            options.setdefault("temperature", float(width**power))
        network = _CLASSES[config["model"]](
            config["n_outputs"], in_channels=config["in_channels"], **options
        )
        return ImageNetwork(network, config["mean"], config["scale"])

    def _augmentation(self, seed: int) -> Augmentation | None:
        return CropFlip(self.crop, self.flip, seed) if self.crop or self.flip else None


def check_network(model: str, params: Mapping[str, Any]) -> None:
    """Check the name of a network and its arguments.

    Raises
    ------
    ValueError
        Naming what is wrong and what is allowed.
    """
    if model not in MODELS:
        raise ValueError(f"model={model!r} is unknown; use one of {', '.join(MODELS)}")
    for key in params:
        if key not in MODEL_PARAMS[model]:
            raise ValueError(
                f"model_params holds {key!r}, which {model} does not take; it takes "
                f"{', '.join(MODEL_PARAMS[model])}"
            )


class ImageNetwork(torch.nn.Module):
    """A network behind a fixed shift and scale of each channel.

    Parameters
    ----------
    network : torch.nn.Module
        Takes images (n_images, n_channels, height, width).
    mean, scale : sequence of float
        One of each per channel.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        mean: Sequence[float],
        scale: Sequence[float],
    ) -> None:
        super().__init__()
        self.network = network
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        for name, values in (("mean", mean), ("scale", scale)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32)[:, None, None])

    @property
    def manifold(self) -> Any:
        """Manifold of the network's embedding."""
        return self.network.manifold

    @property
    def final_layer(self) -> Any:
        """Last layer of the network."""
        return self.network.final_layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of images."""
        logits: torch.Tensor = self.network((x - self.mean) / self.scale)
        return logits
