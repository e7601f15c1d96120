"""What every layer promises, as data: a case per layer, and the helpers the contract needs.

A file ``cases_*.py`` lists its layers in ``CASES``; ``test_contract.py`` runs them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.geometry.curvature import CurvatureParameter

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)


@dataclass(frozen=True)
class LayerCase:
    """One layer, how to build it, and what it is compared with.

    Attributes
    ----------
    name : str
    build : callable
        Returns the module in float32, given the manifold; the contract sets the seed, moves the
        parameters off their initial values (:func:`randomise`) and changes the dtype.
    shape : tuple of int
        Shape of the input points.
    axis : int
        Manifold dimension of the input (1 for convolutions).
    output : {"points", "logits"}
    output_axis : int, optional
        Manifold dimension of the output; by default ``axis``.
    oracle : callable, optional
        ``(module in float64, x float64, c, *inputs) -> expected output`` in float64, written
        without the layer's code. Train or eval mode is that of the case.
    flat : callable, optional
        ``(module in float64, x, *inputs) -> output`` of the Euclidean equivalent, as ``c -> 0``.
    rotation : bool
        Whether the layer commutes with rotations of the space part.
    inputs : callable, optional
        Further inputs after ``x``: ``module(x, *inputs(manifold))``. Floating ones take the dtype
        of ``x``.
    train : bool
        Whether the contract runs the module in train mode.
    unreached : tuple of str
        Ends of the names of parameters that receive no gradient, and why they need none is
        written beside the case.
    prepare : callable, optional
        Called with the module instead of :func:`randomise`.
    differentiable : bool
        Whether finite differences are meaningful (no kinks, no chance).
    export, compiles : bool
        Whether ``torch.export`` (in eval mode) and ``torch.compile`` without graph break are
        tested; False where another case has the same layer, since each takes a second.
    dtypes : tuple of torch.dtype
        In which the oracle is compared.
    euclidean : bool
        Whether input and output are features and not points: those follow autocast as usual.
    far : float
        Radius of far points in units of the largest radius of float32.
    tolerance : float
        Largest error in float32 relative to the magnitude of the output, at radius 2.
    """

    name: str
    build: Callable[[Lorentz], nn.Module]
    shape: tuple[int, ...]
    axis: int = -1
    output: Literal["points", "logits"] = "points"
    output_axis: int | None = None
    oracle: Callable[..., Tensor] | None = None
    flat: Callable[..., Tensor] | None = None
    rotation: bool = False
    inputs: Callable[[Lorentz], tuple[Tensor, ...]] | None = None
    train: bool = True
    unreached: tuple[str, ...] = ()
    prepare: Callable[[nn.Module], None] | None = None
    differentiable: bool = True
    export: bool = True
    compiles: bool = True
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    euclidean: bool = False
    far: float = 1.0
    tolerance: float = 1e-4

    def __str__(self) -> str:
        return self.name


def sample_points(
    m: Lorentz,
    shape: tuple[int, ...],
    axis: int = -1,
    *,
    radius: float = 2.0,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    exact: bool = False,
) -> Tensor:
    """Points with random directions and radii up to ``radius`` (``exact``: all at it), in 1/√c."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(shape, generator=generator, dtype=torch.float64).movedim(axis, -1)
    unit = z / z.norm(dim=-1, keepdim=True)
    r = torch.rand(unit[..., :1].shape, generator=generator, dtype=torch.float64)
    r = torch.full_like(r, radius) if exact else radius * (0.1 + 0.9 * r)
    x = torch.sinh(r) / math.sqrt(m.curvature.value) * unit
    return x.movedim(-1, axis).to(dtype).contiguous()


@torch.no_grad()
def randomise(module: nn.Module, *, unit: float = 1.0, seed: int = 1) -> None:
    """Move parameters off their initial values, so that none is zero or one.

    Offsets and points are lengths: they move by a fraction of ``unit``, 1/√c.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        if isinstance(p, CurvatureParameter):
            continue
        noise = torch.randn(p.shape, generator=generator).to(p.dtype)
        length = isinstance(p, ManifoldParameter) or name.endswith(("bias", "offset"))
        p.add_(noise * (0.3 * unit if length else 0.1))


def build(
    case: LayerCase, m: Lorentz, dtype: torch.dtype = torch.float32, *, seed: int = 0
) -> nn.Module:
    """Build the module of a case on ``m``, off its initial values, in train or eval mode."""
    torch.manual_seed(seed)
    module = case.build(m)
    if case.prepare is not None:
        case.prepare(module)
    else:
        randomise(module, unit=1 / math.sqrt(m.curvature.value), seed=seed + 1)
    module = module.double() if dtype == torch.float64 else module
    return module.train(case.train)


def extras(case: LayerCase, m: Lorentz, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return the further inputs of a case, floating ones in ``dtype``."""
    if case.inputs is None:
        return ()
    return tuple(t.to(dtype) if t.is_floating_point() else t for t in case.inputs(m))


def run(module: nn.Module, x: Tensor, *inputs: Tensor) -> Tensor:
    """Call a copy of the module's forward with a fixed seed (dropout repeats itself)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        result: Tensor = module(x, *inputs)
    return result


def relative_error(actual: Tensor, expected: Tensor, case: LayerCase) -> float:
    """Largest error per output point relative to its length (logits: to the largest logit)."""
    actual, expected = actual.detach().double(), expected.detach().double()
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    error = actual - expected
    if case.output == "logits":
        return float(error.abs().max() / expected.abs().max().clamp_min(1e-300))
    axis = case.axis if case.output_axis is None else case.output_axis
    size = expected.norm(dim=axis)
    # A point near the origin is held to the size of its neighbours.
    size = torch.maximum(size, 0.1 * size.max()).clamp_min(1e-300)
    return float((error.norm(dim=axis) / size).max())
