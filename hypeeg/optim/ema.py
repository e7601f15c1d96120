"""Exponential moving average of weights, for models whose curvature moves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hypeeg.geometry import (
    CurvatureParameter,
    Lorentz,
    LorentzTangent,
    ManifoldParameter,
    lorentz,
)
from hypeeg.optim.frame import Radial, row_dtype
from hypeeg.optim.groups import curvature_of, curvatures_among, value_of

_TINY = 1e-30  # stands for zero where a quotient has a limit there


class EMA:
    r"""Exponential moving average of the weights of a model.

    Euclidean weights are averaged as always, and so is the logarithm of every curvature. Points
    belong to the space of the moment: those of the model are first carried into the space of the
    averaged curvature :math:`\bar c` by the exp move, and the average then goes a fraction
    ``1 - decay`` of the way towards them along the geodesic of that space,

    .. math:: \bar x \leftarrow
              \exp^{\bar c}_{\bar x}\bigl((1 - \mathrm{decay}) \log^{\bar c}_{\bar x} x\bigr).

    The average of points is kept as tangents at the origin, which the exp move leaves as they are.

    Parameters
    ----------
    model : nn.Module
        The model; curvatures are found through its manifold parameters too.
    decay : float, default 0.999
        Weight of the past, in [0, 1).
    warmup : bool, default False
        Let the weight of the past grow as ``(1 + t)/(10 + t)`` after t updates, up to ``decay``.
    use_buffers : bool, default True
        Average floating-point buffers, such as running statistics, and copy the others. If False,
        buffers are none of its business.

    Attributes
    ----------
    steps : int
        Number of updates.

    Raises
    ------
    ValueError
        If ``decay`` lies outside [0, 1).

    Examples
    --------
    >>> import torch
    >>> from hypeeg.geometry import Lorentz, ManifoldParameter
    >>> model = torch.nn.Module()
    >>> model.points = ManifoldParameter(torch.ones(3, 2), Lorentz(learnable=True))
    >>> ema = EMA(model, decay=0.9)
    >>> ema.update()  # after every step of the optimizer
    >>> with ema.average_parameters():
    ...     radius = model.points.manifold.dist0(model.points)
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.999,
        *,
        warmup: bool = False,
        use_buffers: bool = True,
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1); got {decay}")
        self.model, self.decay, self.warmup = model, float(decay), warmup
        self.use_buffers, self.steps = use_buffers, 0
        self._average = {name: _start(t) for name, t in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        """Return curvatures, then parameters, then buffers, each once."""
        entries = list(self.model.named_parameters())
        found: dict[str, Tensor] = dict(curvatures_among(list(entries)))
        found.update({name: p for name, p in entries if name not in found})
        if self.use_buffers:
            found.update(self.model.named_buffers())
        return found

    def _curvatures(self, tensors: dict[str, Tensor]) -> dict[int, Tensor]:
        """Return the averaged curvature magnitudes by the ``id`` of their parameters."""
        averages = {}
        for name, p in tensors.items():
            if isinstance(p, CurvatureParameter):
                low, high = (math.log(b) for b in p.bounds)
                averages[id(p)] = self._average[name].clamp(low, high).exp_()
        return averages

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average; call it after every optimizer step."""
        self.steps += 1
        decay = self.decay
        if self.warmup:
            decay = min(decay, (1 + self.steps) / (10 + self.steps))
        tensors = self._tensors()
        plain: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for name, t in tensors.items():
            average = self._average[name]
            if not (t.is_floating_point() or t.is_complex()):
                average.copy_(t)
            elif not isinstance(t, ManifoldParameter):
                pair = plain.setdefault(average.dtype, ([], []))
                pair[0].append(average)
                pair[1].append(t.detach().to(average))
        for averages, values in plain.values():
            torch._foreach_lerp_(averages, values, 1 - decay)
        curvatures = self._curvatures(tensors)
        for name, t in tensors.items():
            if isinstance(t, ManifoldParameter):
                average = self._average[name]
                # the exp move keeps tangents at the origin: no move is to be seen here
                c = curvatures[id(curvature_of(t))].to(device=t.device, dtype=row_dtype(t))
                average.copy_(_between(average, _logarithms(t), 1 - decay, c))

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Give the model the averaged weights for good."""
        tensors = self._tensors()
        curvatures = self._curvatures(tensors)
        # curvatures come first: points are then converted under the averaged ones
        for name, t in tensors.items():
            average = self._average[name]
            if not isinstance(t, ManifoldParameter) or isinstance(t.manifold, LorentzTangent):
                t.copy_(average)
            else:
                c = curvatures[id(curvature_of(t))].to(t.device)
                x = lorentz.expmap0(average.to(row_dtype(t)), c)
                t.copy_(t.manifold.projx(t.manifold.from_lorentz(x).to(t.dtype)))

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """Let the model have the averaged weights within a ``with`` block.

        At its end the weights of before return, bit by bit, also after an exception.
        """
        tensors = self._tensors()
        before = {name: t.detach().clone() for name, t in tensors.items()}
        self.copy_to_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, t in tensors.items():
                    t.copy_(before[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of updates.

        Averages of points are tangents at the origin, of curvatures ``log c``.
        """
        return {"steps": self.steps, "average": dict(self._average)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Raises
        ------
        ValueError
            If it belongs to a model of other weights.
        """
        given, own = state_dict["average"], self._average
        different = {k for k in given.keys() | own.keys() if k not in given or k not in own}
        different |= {k for k in given.keys() & own.keys() if given[k].shape != own[k].shape}
        if different:
            raise ValueError(
                f"the state belongs to another model: {sorted(different)} are missing, unknown or "
                "of another shape"
            )
        self.steps = int(state_dict["steps"])
        with torch.no_grad():
            for name, average in own.items():
                average.copy_(given[name])


def _logarithms(p: ManifoldParameter) -> Tensor:
    """Return points as tangents at the origin, wide enough for every chart."""
    points = p.detach()
    if isinstance(p.manifold, LorentzTangent):
        return points
    if not isinstance(p.manifold, Lorentz):
        points = p.manifold.to_lorentz(points.to(row_dtype(p)))
    radial = Radial.of(points, value_of(curvature_of(p)))
    return points * radial.angle().div_(radial.sinh).to(points.dtype)


def _between(z: Tensor, w: Tensor, part: float, c: Tensor) -> Tensor:
    r"""Return the points that lie a part of the way from ``z`` to ``w``, in the wide dtype.

    All are tangents ``(..., n)`` at the origin. With D the distance times :math:`\sqrt c`, the
    point at part t is :math:`\bigl(\sinh((1-t)D)\,x + \sinh(tD)\,y\bigr)/\sinh D` in space parts
    x and y. D comes from the haversine form, and space parts are never formed: they overflow.
    """
    root = c.sqrt()
    z, w = z.to(c.dtype), w.to(c.dtype)
    a, b = (torch.linalg.vector_norm(v, dim=-1, keepdim=True).mul_(root) for v in (z, w))
    n, m = z * (root / a.clamp(min=_TINY)), w * (root / b.clamp(min=_TINY))
    sin_square = (n - m).square_().sum(-1, keepdim=True) / 4
    sinh_a, sinh_b = a.sinh(), b.sinh()
    half = ((a - b) / 2).sinh_().square_().add_(sinh_a * sinh_b * sin_square).sqrt_().asinh_()
    whole = (2 * half).clamp_(min=_TINY)
    below = (-2 * whole).expm1_()
    from_n = (-part * whole).exp_().mul_((-2 * (1 - part) * whole).expm1_()).div_(below)
    from_m = (-(1 - part) * whole).exp_().mul_((-2 * part * whole).expm1_()).div_(below)
    scale = torch.maximum(a, b)  # sinh a and sinh b are divided by its exponential
    shrink = (-scale).exp()
    n.mul_(from_n.mul_(sinh_a).mul_(shrink)).addcmul_(m, from_m.mul_(sinh_b).mul_(shrink))
    length = torch.linalg.vector_norm(n, dim=-1, keepdim=True).clamp_(min=_TINY)
    radius = (length / shrink).asinh_()
    between: Tensor = n.mul_(radius.div_(length).div_(root))
    return between


def _start(t: Tensor) -> Tensor:
    if isinstance(t, ManifoldParameter):
        return _logarithms(t).to(t.dtype, copy=True)
    if t.dtype in (torch.float16, torch.bfloat16):
        return t.detach().float()  # small changes would be rounded away
    return t.detach().clone()
