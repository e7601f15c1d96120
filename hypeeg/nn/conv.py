"""Convolutions between hyperboloids, the manifold dimension at the channel axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.utils import _pair, _single

from hypeeg.geometry import Lorentz
from hypeeg.nn.hyperplane import hyperplane_coefficients
from hypeeg.nn.linear import LinearKind, boost, orthonormal, working_dtype
from hypeeg.nn.pointwise import (
    expmap0,
    geodesic_scale,
    logmap0,
    point_norm,
    raw_norm,
    rescale,
    root_of,
)

Size = int | tuple[int, ...]


def _split(x: Tensor, groups: int) -> Tensor:
    """Return (N, C, ...) as (N, groups, C / groups, ...)."""
    return x.view(x.shape[0], groups, -1, *x.shape[2:])


@dataclass(frozen=True)
class _Geometry:
    """How a kernel moves over the input; hashable, so that a compiled graph is found again."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    kernel: tuple[int, ...]

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return torch.convolution(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )

    def backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad,
            x,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
            (*needs, False),
        )
        return grad_x, grad_weight

    def box(self, like: Tensor) -> Tensor:
        """Return the kernel that sums over each patch, for one channel per group."""
        return like.new_ones((self.groups, 1, *self.kernel))

    def patch_time(self, norm: Tensor, c: Tensor) -> Tensor:
        """Return the time parts (N, groups, ...) of the concatenated points of each patch.

        Concatenation adds the squared lengths ``norm**2`` (N, groups, ...) of the space parts: a
        box sum, of numbers scaled by a power of two so that squares do not overflow.
        """
        unit = 1.0 if norm.dtype == torch.float64 else 2.0**-44
        squares = self.convolve((norm * unit) ** 2, self.box(norm))
        return torch.sqrt(squares + (unit / root_of(c, norm)) ** 2) / unit


class _HyperplaneConv(torch.autograd.Function):
    """Convolution plus ``offset_j`` times the time part of the patch.

    Nothing of the size of the data is allocated beside the output and the gradient of the input.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, scaled: Tensor, offset: Tensor, c: Tensor, geometry: _Geometry
    ) -> tuple[Tensor, Tensor]:
        groups = geometry.groups
        y = geometry.convolve(x, scaled)
        time = geometry.patch_time(raw_norm(_split(x, groups), 2).squeeze(2), c)
        shape = (1, groups, -1) + (1,) * (x.dim() - 2)
        _split(y, groups).addcmul_(offset.view(shape), time.unsqueeze(2))
        return y, time

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.geometry = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None, None
        x, scaled, offset, c, time = ctx.saved_tensors
        geometry: _Geometry = ctx.geometry
        groups = geometry.groups
        if torch.is_grad_enabled():  # a second derivative: connect the time parts to the input
            time = geometry.patch_time(point_norm(_split(x, groups), 2).squeeze(2), c)
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[1])
        grad_x, grad_scaled = geometry.backward(grad, x, scaled, needs)
        across = _split(grad, groups).flatten(3)
        grad_offset = torch.matmul(across, time.flatten(2).unsqueeze(-1)).sum(0).view(-1)
        per_time = torch.matmul(offset.view(groups, 1, -1), across).view(time.shape) / time
        if grad_x is not None:
            ones = geometry.box(x)
            pixels = time.new_empty(()).expand((*x.shape[:1], groups, *x.shape[2:]))
            weights, _none = geometry.backward(per_time, pixels, ones, (True, False))
            assert weights is not None
            split, by = _split(grad_x, groups), weights.unsqueeze(2)
            points = _split(x, groups)
            if torch.is_grad_enabled():
                grad_x = torch.addcmul(split, points, by).flatten(1, 2)
            else:
                split.addcmul_(points, by)
        grad_c = -per_time.sum() / (2 * c * c) if ctx.needs_input_grad[3] else None
        return grad_x, grad_scaled, grad_offset, grad_c, None


class LorentzConv(nn.Module):
    """What the convolutions of one and two dimensions, plain and transposed, share."""

    spatial = 0
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        manifold: Lorentz,
        kind: LinearKind = "hyperplane",
        rescale: bool | None = None,
        output_padding: Size = 0,
    ) -> None:
        super().__init__()
        if kind not in get_args(LinearKind):
            raise ValueError(f"kind must be one of {get_args(LinearKind)}; got {kind!r}")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if groups < 1 or channels % groups:
                raise ValueError(f"{name} must be a multiple of groups={groups}; got {channels}")
        if isinstance(padding, str) and (self.transposed or padding not in ("same", "valid")):
            allowed = "a number" if self.transposed else "a number, 'same' or 'valid'"
            raise ValueError(f"padding must be {allowed}; got {padding!r}")
        each = _single if self.spatial == 1 else _pair
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size: tuple[int, ...] = each(kernel_size)
        self.stride: tuple[int, ...] = each(stride)
        self.dilation: tuple[int, ...] = each(dilation)
        self.padding: tuple[int, ...] | str = padding if isinstance(padding, str) else each(padding)
        self.output_padding: tuple[int, ...] = each(output_padding)
        self._ahead, exact = self._resolve_padding()
        self.geometry = _Geometry(
            self.stride,
            exact,
            self.dilation,
            self.transposed,
            self.output_padding,
            groups,
            self.kernel_size,
        )
        self.kind = kind
        self.manifold = manifold
        self.rescale = kind == "boost" if rescale is None else rescale
        shape = (out_channels, in_channels // groups)
        if self.transposed:
            shape = (in_channels, out_channels // groups)
        self.weight = nn.Parameter(torch.empty(*shape, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.scale = nn.Parameter(torch.empty(())) if kind == "boost" else None
        self.reset_parameters()

    def _resolve_padding(self) -> tuple[list[int], tuple[int, ...]]:
        """Return what to pad beforehand, for ``F.pad``, and the convolution's own padding."""
        if not isinstance(self.padding, str):
            return [], self.padding
        if self.padding == "valid":
            return [], (0,) * self.spatial
        if any(s > 1 for s in self.stride):
            raise ValueError(f"padding 'same' needs stride 1; got stride={self.stride}")
        total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
        if not any(t % 2 for t in total):
            return [], tuple(t // 2 for t in total)
        ahead = [part for t in reversed(total) for part in (t // 2, t - t // 2)]
        return ahead, (0,) * self.spatial

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw orthogonal directions, set the offsets to zero and the scale to one."""
        self.weight.copy_(self._kernel(nn.init.orthogonal_(self._directions(self.weight).clone())))
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.scale is not None:
            nn.init.ones_(self.scale)

    def _directions(self, weight: Tensor) -> Tensor:
        """Return the weight as one direction per output channel, (out, in / groups * kernel)."""
        if not self.transposed:
            return weight.flatten(1)
        split = weight.view(self.groups, self.in_channels // self.groups, -1, *self.kernel_size)
        return split.transpose(1, 2).reshape(self.out_channels, -1)

    def _kernel(self, directions: Tensor) -> Tensor:
        """Return directions in the shape of the weight."""
        if not self.transposed:
            return directions.view(self.weight.shape)
        split = directions.view(self.groups, -1, self.in_channels // self.groups, *self.kernel_size)
        return split.transpose(1, 2).reshape(self.weight.shape)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return self.geometry.convolve(self._pad(x), weight, bias)

    def _pad(self, x: Tensor) -> Tensor:
        # Only padding "same" with an even kernel needs more than the convolution's own padding.
        return F.pad(x, self._ahead) if self._ahead else x

    def _hyperplane(self, x: Tensor, weight: Tensor, bias: Tensor, c: Tensor) -> Tensor:
        scaled, offset = hyperplane_coefficients(self._directions(weight), bias, c)
        y: Tensor = _HyperplaneConv.apply(
            self._pad(x), self._kernel(scaled), offset, c, self.geometry
        )[0]
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the output points, ``(N, out_channels, ...)``."""
        if x.dim() != self.spatial + 2:
            axes = "(N, C, L)" if self.spatial == 1 else "(N, C, H, W)"
            raise ValueError(f"the input must be {axes}; got shape {tuple(x.shape)}")
        with torch.autocast(x.device.type, enabled=False):
            dtype = working_dtype(self.weight)
            x, weight = x.to(dtype), self.weight.to(dtype)
            bias = None if self.bias is None else self.bias.to(dtype)
            c = self.manifold.c
            if self.kind == "extrinsic" or (self.kind == "hyperplane" and bias is None):
                y = self._convolve(x, weight, bias)
            elif self.kind == "hyperplane":
                assert bias is not None
                y = self._hyperplane(x, weight, bias, c)
            elif self.kind == "tangent":
                y = expmap0(self._convolve(logmap0(x, c, 1), weight, bias), c, 1)
            else:
                assert self.scale is not None
                directions = self._directions(weight)
                if self.groups == 1 and directions.shape[0] >= directions.shape[1]:
                    weight = self._kernel(orthonormal(directions))
                y = self._convolve(x, weight)
                y = geodesic_scale(y, c, self.scale.to(dtype), 1)
                y = y if bias is None else boost(y, bias, c, 1)
            return rescale(y, c, dim=1) if self.rescale else y

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}, padding={self.padding!r}",
        ]
        if any(d > 1 for d in self.dilation):
            parts.append(f"dilation={self.dilation}")
        if any(self.output_padding):
            parts.append(f"output_padding={self.output_padding}")
        if self.groups > 1:
            parts.append(f"groups={self.groups}")
        parts.append(f"bias={self.bias is not None}, kind={self.kind!r}, rescale={self.rescale}")
        return ", ".join(parts)


class LorentzConv2d(LorentzConv):
    r"""Two-dimensional convolution of points; the manifold dimension is the channel axis.

    The points of a patch are concatenated: the space part of the concatenation is that of the
    patch, its time part follows from ``x_t^2 = 1/c + sum |x_s|^2``. A Lorentz linear layer acts on
    it. For kind ``"hyperplane"`` [1]_ this is one ordinary convolution with the scaled directions
    plus a rank-one term in the time parts, which a box sum gives; patches are never unfolded.
    Padding is with the origin. With groups, the channels of each group are points of their own.

    Parameters
    ----------
    in_channels, out_channels : int
        Dimensions of the input and output points.
    kernel_size, stride, padding, dilation, groups : int or tuple of int
        As in ``torch.nn.Conv2d``; ``padding`` may be ``"same"`` or ``"valid"``.
    bias : bool, default True
        Whether there are offsets.
    manifold : Lorentz
        Manifold of input and output.
    kind : {"hyperplane", "extrinsic", "boost", "tangent"}, default "hyperplane"
        As in :class:`LorentzLinear`, on concatenated patches. ``"boost"`` [2]_ makes the weight's
        columns orthonormal where ``out_channels >= in_channels * kernel elements``, without
        groups; ``"tangent"`` convolves the logarithms of the points.
    rescale : bool, optional
        Whether maximum-distance rescaling follows; by default for kind ``"boost"`` only.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, ...)
        Directions; orthogonal at first.
    bias : Parameter, shape (out_channels,), or None
        Offsets, distances from the origin; zero at first.
    scale : Parameter, 0-dimensional, or None
        Of kind ``"boost"``; initially 1.

    Raises
    ------
    ValueError
        For an unknown ``kind``, channels that groups do not divide, a padding that is no number
        nor ``"same"`` or ``"valid"``, and inputs that are not ``(N, C, H, W)``.

    Notes
    -----
    Input ``(N, in_channels, H, W)``, output ``(N, out_channels, H', W')``, float32 or float64;
    half precision is raised to float32, also under autocast.

    References
    ----------
    .. [1] arXiv 2601.21529, with ``c`` the curvature magnitude.
    .. [2] arXiv 2405.13979.
    """

    spatial = 2


class LorentzConv1d(LorentzConv):
    """One-dimensional convolution of points; the manifold dimension is the channel axis.

    See :class:`LorentzConv2d`, whose parameters it takes.

    Notes
    -----
    Input ``(N, in_channels, L)``, output ``(N, out_channels, L')``.
    """

    spatial = 1
