"""Parameters of one manifold as one table of rows, so that an update is one set of tensor calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from hypeeg.geometry import CurvatureParameter, ManifoldParameter
from hypeeg.optim.curvature import BALL_MARGIN, Chart, chart_of
from hypeeg.optim.frame import Radial, row_dot, row_dtype, row_norm
from hypeeg.optim.groups import curvature_of, value_of
from hypeeg.optim.sparse import TouchedRows, touched

# Parameters of at least so many numbers form a table of their own: copying them would cost more
# than the calls it saves. Calls are dearer on an accelerator.
_LARGE_CPU = 2**14
_LARGE_ACCELERATOR = 2**20


def sort_into_tables(
    params: Iterable[ManifoldParameter], steps: Sequence[float] | None = None, *, batch: bool = True
) -> list[list[ManifoldParameter]]:
    """Sort parameters into lists, each of which can form one table.

    Parameters
    ----------
    params : iterable of ManifoldParameter
        Parameters of one group; empty ones are left out.
    steps : sequence of float, optional
        How many steps each has taken: bias corrections differ where these do.
    batch : bool, default True
        False gives every parameter a table of its own; True only large ones.
    """
    buckets: dict[tuple[Any, ...], list[ManifoldParameter]] = {}
    spaces: dict[int, tuple[int, type]] = {}
    for i, p in enumerate(params):
        size = p.numel()
        if size == 0:
            continue
        manifold, grad = p.manifold, p.grad
        space = spaces.get(id(manifold))
        if space is None:
            space = spaces[id(manifold)] = (id(curvature_of(p)), type(manifold))
        large = size >= (_LARGE_CPU if p.is_cpu else _LARGE_ACCELERATOR)
        alone = id(p) if large or not batch or (grad is not None and grad.is_sparse) else None
        step = 0.0 if steps is None else steps[i]
        key = (space, p.shape[-1], p.dtype, p.device, p.decay, step, alone)
        buckets.setdefault(key, []).append(p)
    return list(buckets.values())


class RowBlock:
    """Tensors ``(..., width)`` joined into one tensor ``(rows, width)``.

    A single contiguous tensor is not copied: the rows are a view of it. In every other case
    :meth:`write_back` copies changed rows into the tensors. Autograd must be off.

    Parameters
    ----------
    tensors : sequence of Tensor
        At least one, of the same width, dtype and device.
    dtype : torch.dtype, optional
        Of the rows, by default that of the tensors.
    """

    def __init__(self, tensors: Sequence[Tensor], dtype: torch.dtype | None = None) -> None:
        self._tensors = list(tensors)
        first = tensors[0]
        width = first.shape[-1]
        alike = dtype is None or dtype == first.dtype
        self.is_view = alike and len(tensors) == 1 and first.is_contiguous()
        if self.is_view:
            self.rows = first.detach().view(-1, width)
            return
        # With hundreds of tensors, a view of each would cost more than all the arithmetic.
        dims = {t.dim() for t in tensors}
        self._dim = dims.pop() if len(dims) == 1 else None
        if self._dim == 1:
            rows = torch.stack(tuple(tensors))
        elif self._dim == 2:
            rows = torch.cat(tuple(tensors))
        else:
            rows = torch.cat([t.reshape(-1, width) for t in tensors])
        self.rows = rows if dtype is None else rows.to(dtype)

    def write_back(self) -> None:
        """Copy the rows into the tensors they came from, unless they are a view of them."""
        if self.is_view:
            return
        tensors = self._tensors
        blocks: Sequence[Tensor]
        if self._dim == 1:
            blocks = self.rows.unbind()
        else:
            blocks = torch.split(self.rows, [t.numel() // t.shape[-1] for t in tensors])
            if self._dim != 2:
                blocks = [b.view(t.shape) for b, t in zip(blocks, tensors, strict=True)]
        torch._foreach_copy_(tensors, list(blocks))


class ChartRows:
    """Rows of another chart as space parts, written back in the coordinates of that chart.

    The maps are those of :class:`~hypeeg.geometry.PoincareBall` and
    :class:`~hypeeg.geometry.LorentzTangent`, written for a table: all are factors per row.

    Parameters
    ----------
    coordinates : RowBlock or TouchedRows
        Rows in float64, which carries every point that the coordinates carry.
    chart : {"ball", "tangent"}
        What they are.
    c : Tensor, 0-dimensional
        Curvature magnitude.
    dtype : torch.dtype
        Of the parameters, which decides how far out points may lie.
    """

    def __init__(
        self, coordinates: RowBlock | TouchedRows, chart: Chart, c: Tensor, dtype: torch.dtype
    ) -> None:
        self._coordinates, self._chart, self._dtype = coordinates, chart, dtype
        p = coordinates.rows
        self._c = c.to(p)
        t = row_norm(p).mul_(self._c.sqrt()).clamp_min_(1e-18)
        if chart == "ball":
            self._half_gap = (1 - t).mul_(1 + t).div_(2)
            self._across = self._half_gap
            self._cosh = t.square_().add_(1).div_(2).div_(self._half_gap)
            self._extend = self._half_gap.reciprocal()
        else:
            sinh = t.sinh()
            self._cosh = t.cosh()
            self._across = t.div_(sinh)
            self._extend = self._across.reciprocal()
        self.rows = p * self._extend

    def gradient(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient in the space parts, and the products of coordinates and gradient.

        Parameters
        ----------
        g : Tensor, shape (rows, n)
            Autograd's gradient in the coordinates; overwritten.
        """
        p_dot_g = row_dot(self._coordinates.rows, g)
        if self._chart == "ball":
            # g / (1 + cosh) is the gradient in the frame of the origin, g_x + c <x, g_x> x
            # / (1 + cosh)
            along = p_dot_g * self._c / self._cosh * self._half_gap
            return g.mul_(self._across).addcmul_(self.rows, along, value=-1), p_dot_g
        # the part along the ray over cosh, the part across it over sinh(a) / a
        along = (self._cosh.reciprocal() - self._across) * p_dot_g
        along.div_(row_norm(self._coordinates.rows).square_().clamp_min_(1e-36))
        return g.mul_(self._across).addcmul_(self._coordinates.rows, along), p_dot_g

    def write_back(self) -> None:
        """Copy the rows into the tensors they came from."""
        radial = Radial.of(self.rows, self._c)
        if self._chart == "ball":
            most = 1 - BALL_MARGIN * torch.finfo(self._dtype).eps
            factor = torch.minimum(radial.cosh_1.reciprocal(), most / radial.sinh)
        else:
            factor = radial.angle().div_(radial.sinh)
        torch.mul(self.rows, factor, out=self._coordinates.rows)
        self._coordinates.write_back()


class Scratch:
    """Working memory of the size of the largest table, kept between steps.

    Fresh memory of that size costs as much as the arithmetic done in it.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape, dtype and device of ``x`` with arbitrary content."""
        key = (x.device, x.dtype)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < x.numel():
            buffer = self._buffers[key] = torch.empty(x.numel(), dtype=x.dtype, device=x.device)
        return buffer[: x.numel()].view(x.shape)


@dataclass
class Table:
    """Manifold parameters that share curvature, width, dtype, device, options and step count.

    Attributes
    ----------
    params : list of ManifoldParameter
        The parameters.
    log_c : CurvatureParameter
        Their curvature.
    group : dict
        Options of their parameter group.
    points : RowBlock, TouchedRows or ChartRows
        Space parts.
    gradient : Tensor, shape (rows, n)
        Gradients in the space parts to descend; never written to.
    chart : {"lorentz", "ball", "tangent"}
        Coordinates of the parameters.
    chart_dot_g : Tensor, shape (rows, 1), optional
        Inner products of coordinates and gradient in a chart other than the Lorentz model.
    step : float
        Number of steps taken, the present one included.
    state : dict of str to RowBlock or TouchedRows
        Optimiser state by name.
    scratch : Tensor, shape (rows, n), optional
        Working memory, shared with other tables.
    """

    params: list[ManifoldParameter]
    log_c: CurvatureParameter
    group: dict[str, Any]
    points: RowBlock | TouchedRows | ChartRows
    gradient: Tensor
    chart: Chart
    chart_dot_g: Tensor | None
    step: float
    state: dict[str, RowBlock | TouchedRows]
    scratch: Tensor | None

    @property
    def decays(self) -> bool:
        """Whether weight decay applies to the parameters."""
        return self.params[0].decay

    @property
    def is_whole(self) -> bool:
        """Whether the rows are all points of the parameters, in their own coordinates."""
        return isinstance(self.points, RowBlock)

    def write_back(self) -> None:
        """Copy changed rows into the parameters and their state."""
        self.points.write_back()
        for block in self.state.values():
            block.write_back()


def build_table(
    params: list[ManifoldParameter],
    states: list[dict[str, Any]],
    names: Iterable[str],
    step: float,
    group: dict[str, Any],
    scratch: Scratch | None,
) -> Table:
    """Join parameters that :func:`sort_into_tables` put into one list, gradients and state.

    Parameters
    ----------
    params : list of ManifoldParameter
        Parameters with gradients; a sparse one comes alone.
    states : list of dict
        Their state, which holds ``names``.
    names : iterable of str
        Which state is part of the table.
    step : float
        How many steps they have taken, the present one included.
    group : dict
        Options of their group.
    scratch : Scratch, optional
        Where working memory comes from.
    """
    first = params[0]
    log_c = curvature_of(first)
    chart = chart_of(first.manifold)
    wide = None if chart == "lorentz" else row_dtype(first)
    grads = [cast(Tensor, p.grad) for p in params]
    index = None
    if grads[0].is_sparse:
        index, gradient = touched(grads[0])
    else:
        gradient = RowBlock(grads).rows

    def block(tensors: Sequence[Tensor]) -> RowBlock | TouchedRows:
        return RowBlock(tensors, wide) if index is None else TouchedRows(tensors[0], index, wide)

    coordinates = block(params)
    points: RowBlock | TouchedRows | ChartRows = coordinates
    chart_dot_g = None
    if group["maximize"]:
        gradient = -gradient
    if wide is not None:
        points = ChartRows(coordinates, chart, value_of(log_c), first.dtype)
        gradient, chart_dot_g = points.gradient(gradient.to(wide, copy=True))
    return Table(
        params=params,
        log_c=log_c,
        group=group,
        points=points,
        gradient=gradient,
        chart=chart,
        chart_dot_g=chart_dot_g,
        step=step,
        state={name: block([s[name] for s in states]) for name in names},
        scratch=None if scratch is None else scratch.like(points.rows),
    )
