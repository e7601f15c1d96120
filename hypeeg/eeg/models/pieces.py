"""What our models share: the way onto the hyperboloid, heads, and braindecode's head methods."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, get_args

import torch
from braindecode.models.base import EEGModuleMixin
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hypeeg.geometry import Lorentz
from hypeeg.geometry.numerics import prepare
from hypeeg.nn import LorentzMLR, LorentzPrototypes
from hypeeg.nn.lift import SMALLEST_SLOPE
from hypeeg.nn.pointwise import point_norm, rescale_tangent, root_of

Head = Literal["mlr", "prototypes"]

# Scaled lengths at which features are held where nothing rescales them: coordinates of their points
# still have squares in the dtype.
LONGEST = {torch.float32: 40.0, torch.float64: 300.0}


def check_head(head: str) -> None:
    """Raise if there is no head of that name."""
    if head not in get_args(Head):
        raise ValueError(f"head must be 'mlr' or 'prototypes'; got {head!r}")


class TangentRescale(nn.Module):
    """Scale features and rescale them to the maximum distance, before the exponential map.

    ``exp_o`` of the result is :class:`hypeeg.nn.Rescale` of :class:`hypeeg.nn.Lift`, without the
    overflow of the exponential map on long features.

    Without rescaling (``slope=None``) features are scaled alone. Those beyond distance
    ``40/sqrt(c)`` (``300/sqrt(c)`` in float64) are held there, far beyond the maximum distance,
    because squares of the coordinates of their points would overflow.

    Parameters
    ----------
    manifold : Lorentz
        Manifold whose tangent space at the origin the features are in.
    scale : float
        Positive factor on the features.
    slope : float or None
        Slope of the maximum-distance rescaling, at least 2.65; None for no rescaling.
    axis : int, default -1
        Axis of the features; 1 for channels.

    Attributes
    ----------
    shrink : float
        Factor on short features: ``scale atanh(0.99) / slope``, or ``scale`` without rescaling.

    Raises
    ------
    ValueError
        If ``scale`` is not positive or ``slope`` below 2.65.
    """

    def __init__(
        self, manifold: Lorentz, scale: float, slope: float | None, axis: int = -1
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"lift_scale must be positive; got {scale}")
        if slope is not None and not slope >= SMALLEST_SLOPE:
            raise ValueError(f"slope must be at least 2.65, or small norms grow; got {slope}")
        self.manifold = manifold
        self.scale = float(scale)
        self.slope = None if slope is None else float(slope)
        self.axis = axis
        self.shrink = self.scale if slope is None else scale * math.atanh(0.99) / slope

    def forward(self, x: Tensor) -> Tensor:
        """Return tangent vectors at the origin, in the shape of the features."""
        with torch.autocast(x.device.type, enabled=False):
            z = prepare(x)[0] * self.shrink
            c = self.manifold.c
            if self.slope is not None:
                return rescale_tangent(z, c, self.axis)
            length = root_of(c, z) * point_norm(z, self.axis)
            longest = LONGEST[z.dtype]
            return z * (longest / length.clamp(min=longest))

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        slope = None if self.slope is None else f"{self.slope:.4g}"
        return f"scale={self.scale:.4g}, slope={slope}, axis={self.axis}"


def make_head(
    head: str,
    in_features: int,
    n_outputs: int,
    manifold: Lorentz,
    shrink: float,
    max_norm: float | None = None,
) -> LorentzMLR | LorentzPrototypes:
    """Return a Lorentz head whose logits undo the factor that short features met on the way."""
    if head == "prototypes":
        return LorentzPrototypes(in_features, n_outputs, manifold=manifold, temperature=shrink**2)
    return LorentzMLR(
        in_features, n_outputs, manifold=manifold, max_norm=max_norm, temperature=1 / shrink
    )


def renewed(head: nn.Module, n_outputs: int) -> LorentzMLR | LorentzPrototypes:
    """Return a freshly initialised head for other classes, with all options of the given one."""
    new: LorentzMLR | LorentzPrototypes
    if isinstance(head, LorentzPrototypes):
        new = LorentzPrototypes(
            head.in_features,
            n_outputs,
            manifold=head.manifold,
            temperature=head.temperature,
            init_radius=head.init_radius,
        )
    else:
        assert isinstance(head, LorentzMLR)
        new = LorentzMLR(
            head.in_features,
            n_outputs,
            manifold=head.manifold,
            max_norm=head.max_norm,
            temperature=head.temperature,
        )
    old = next(head.parameters())
    new = new.to(old.device, old.dtype)
    if parametrize.is_parametrized(head, "weight"):
        parts: Any = head.parametrizations["weight"]  # type: ignore[index]
        for part in parts:
            parametrize.register_parametrization(new, "weight", copy.deepcopy(part))
    return new.train(head.training)


class HyperbolicNetwork:
    """Mix-in of braindecode's head methods for networks that end in Lorentz heads.

    It stands before the braindecode model or ``EEGModuleMixin`` among the base classes. The heads
    are those in ``final_layer``; what they take is the embedding.
    """

    final_layer: nn.Module
    n_chans: int
    n_outputs: int
    n_times: int

    def _heads(self) -> dict[str, LorentzMLR | LorentzPrototypes]:
        found = {
            name: part
            for name, part in self.final_layer.named_modules()
            if isinstance(part, LorentzMLR | LorentzPrototypes)
        }
        if not found:
            raise ValueError(f"final_layer of {type(self).__name__} holds no Lorentz head")
        return found

    @property
    def manifold(self) -> Lorentz:
        """Manifold of the embedding."""
        return next(iter(self._heads().values())).manifold

    def reset_head(self, n_outputs: int) -> None:
        """Replace the head by a new one for ``n_outputs`` classes.

        Parameters
        ----------
        n_outputs : int
            New number of classes, positive.
        """
        heads = self._heads()
        EEGModuleMixin._set_n_outputs(self, n_outputs)
        for name, head in heads.items():
            new = renewed(head, n_outputs)
            if not name:
                self.final_layer = new
                continue
            parent, _, attribute = name.rpartition(".")
            setattr(self.final_layer.get_submodule(parent), attribute, new)

    def forward(self, x: Tensor, *, return_features: bool = False, **inputs: Any) -> Any:
        """Return the logits of trials, or their embedding.

        Parameters
        ----------
        x : Tensor, shape (N, n_chans, n_times)
        return_features : bool, default False
            Whether to return the embedding in the place of the logits.
        **inputs
            What else the network takes.

        Returns
        -------
        Tensor, shape (N, n_outputs), or dict
            Logits; or ``{"features": points, "cls_token": None}`` with points of the hyperboloid of
            curvature ``-manifold.c`` as space parts ``(N, n)``, or ``(N, k, n)`` where the network
            classifies ``k`` points of each trial.
        """
        if not return_features:
            return self._logits(x, **inputs)
        seen: list[Tensor] = []
        handles = [
            head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
            for head in self._heads().values()
        ]
        try:
            self._logits(x, **inputs)
        finally:
            for handle in handles:
                handle.remove()
        points = torch.cat([p.flatten(1, -2) if p.dim() > 2 else p.unsqueeze(1) for p in seen], 1)
        return {"features": points.squeeze(1), "cls_token": None}

    def _logits(self, x: Tensor, **inputs: Any) -> Any:
        return super().forward(x, **inputs)  # type: ignore[misc]


def check_trials(x: Tensor, n_chans: int, n_times: int) -> None:
    """Raise if trials have not the shape that a network was made for."""
    if x.dim() != 3 or x.shape[1] != n_chans or x.shape[2] != n_times:
        raise ValueError(
            f"x must have shape (N, n_chans={n_chans}, n_times={n_times}); got {tuple(x.shape)}"
        )
