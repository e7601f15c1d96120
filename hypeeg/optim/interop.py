"""Parameters of geoopt as parameters of this package. geoopt itself is never imported."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from torch import Tensor, nn

from hypeeg.geometry import HyperbolicChart, Lorentz, ManifoldParameter, PoincareBall
from hypeeg.geometry.curvature import BOUNDS
from hypeeg.optim.groups import is_foreign

Module = TypeVar("Module", bound=nn.Module)


def _kinds(manifold: Any) -> list[str]:
    """Return the names of the geoopt classes a manifold is an instance of."""
    return [k.__name__ for k in type(manifold).__mro__ if k.__module__.startswith("geoopt.")]


def _magnitude(value: Tensor) -> float:
    if value.numel() != 1:
        raise TypeError(f"the curvature must be one number; got shape {tuple(value.shape)}")
    return float(value.detach())


def _convert_manifold(manifold: Any) -> HyperbolicChart | None:
    """Return our chart of a geoopt manifold, None for a Euclidean one."""
    kinds = _kinds(manifold)
    kind: type[Lorentz | PoincareBall]
    if "Lorentz" in kinds:
        kind, c, learnable = Lorentz, 1 / _magnitude(manifold.k), manifold.k.requires_grad
    elif "PoincareBall" in kinds:
        kind, c = PoincareBall, _magnitude(manifold.c)
        learnable = manifold.isp_c.requires_grad
    elif "Stereographic" in kinds and _magnitude(manifold.k) < 0:
        kind, c, learnable = PoincareBall, -_magnitude(manifold.k), manifold.k.requires_grad
    elif "Euclidean" in kinds:
        return None
    else:
        raise TypeError(
            "only geoopt's Lorentz, PoincareBall, Stereographic with k < 0 and Euclidean can be "
            f"converted; got {manifold!r}. Split a product into one parameter per factor"
        )
    if not 0 < c < float("inf"):
        raise ValueError(f"the curvature magnitude must be positive and finite; got {c}")
    bounds = (min(BOUNDS[0], c), max(BOUNDS[1], c))
    return kind(c, learnable=learnable, bounds=bounds)


class _Converter:
    """Converts each manifold once, so that what shared one goes on sharing."""

    def __init__(self) -> None:
        self._manifolds: dict[int, HyperbolicChart | None] = {}
        self._params: dict[int, nn.Parameter] = {}

    def manifold(self, manifold: Any) -> HyperbolicChart | None:
        if id(manifold) not in self._manifolds:
            self._manifolds[id(manifold)] = _convert_manifold(manifold)
        return self._manifolds[id(manifold)]

    def parameter(self, p: Any) -> nn.Parameter:
        if id(p) not in self._params:
            manifold = self.manifold(p.manifold)
            data = p.detach().as_subclass(Tensor)
            new: nn.Parameter
            if manifold is None:
                new = nn.Parameter(data.clone(), p.requires_grad)
            else:
                points = data[..., 1:] if isinstance(manifold, Lorentz) else data
                new = ManifoldParameter(points.clone(), manifold, p.requires_grad)
            self._params[id(p)] = new
        return self._params[id(p)]


@overload
def from_geoopt(source: Tensor) -> nn.Parameter: ...


@overload
def from_geoopt(source: Module) -> Module: ...


def from_geoopt(source: Any) -> Any:
    """Convert a parameter of geoopt, or all those of a module, to this package.

    ========================================  ==================================================
    geoopt                                    here
    ========================================  ==================================================
    ``Lorentz(k)``, points ``(..., n + 1)``   :class:`~hypeeg.geometry.Lorentz` with ``c = 1/k``,
                                              space parts ``(..., n)``: time is dropped
    ``PoincareBall(c)``,                      :class:`~hypeeg.geometry.PoincareBall`, the same
    ``Stereographic(k < 0)``                  coordinates, ``c = -k``
    ``Euclidean``                             ``nn.Parameter``
    ========================================  ==================================================

    A curvature that is learned there is learned here. Parameters that share a manifold go on
    sharing one.

    Parameters
    ----------
    source : geoopt.ManifoldParameter, geoopt.ManifoldTensor or nn.Module
        A module is changed in place: its manifold parameters, and those submodules that are
        manifolds, are replaced throughout. Code in it that reads points of the Lorentz model must
        take space parts from then on, and use the methods of this package's manifolds.

    Returns
    -------
    ManifoldParameter, nn.Parameter or nn.Module
        The converted parameter, a copy of the data, or the module itself.

    Raises
    ------
    TypeError
        If ``source`` is nothing of geoopt's, or lies on a manifold without a counterpart. A module
        has not been changed then.

    Notes
    -----
    Optimizers hold on to the parameters they were given: build the optimizer after converting.
    """
    converter = _Converter()
    if isinstance(source, Tensor):
        if not is_foreign(source):
            raise TypeError(
                "source must be a geoopt manifold parameter or a module; got a tensor of type "
                f"{type(source).__name__}"
            )
        return converter.parameter(source)
    if not isinstance(source, nn.Module):
        raise TypeError(
            f"source must be a geoopt manifold parameter or a module; got {type(source).__name__}"
        )
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    for module in source.modules():
        if _kinds(module):
            continue  # the inside of a manifold
        for name, p in module._parameters.items():
            if is_foreign(p):
                replaced.append((module._parameters, name, converter.parameter(p)))
        for name, child in module._modules.items():
            if child is not None and _kinds(child) and hasattr(child, "expmap"):
                manifold = converter.manifold(child)
                if manifold is not None:
                    replaced.append((module._modules, name, manifold))
    for owner, name, new in replaced:
        owner[name] = new
    return source
