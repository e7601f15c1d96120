"""Parameters that live on a manifold, and modules that keep them through every kind of loading."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from hypeeg.geometry.base import HyperbolicChart


class ManifoldParameter(nn.Parameter):
    """A parameter whose last dimension holds coordinates of points on a manifold.

    Optimisers of :mod:`hypeeg.optim` recognise it, move it along geodesics and carry it along when
    the curvature of its manifold changes. Copies keep sharing: after ``copy.deepcopy(model)``
    the copied parameters refer to the one copied manifold.

    Parameters
    ----------
    data : Tensor, shape (..., n)
        Points in the coordinates of the manifold: space parts for
        :class:`~hypeeg.geometry.Lorentz`.
    manifold : Lorentz, LorentzTangent or PoincareBall
        The manifold they live on. Points of a :class:`~hypeeg.geometry.Product` are a
        :class:`~hypeeg.geometry.ProductParameter`, those of Euclidean space an ``nn.Parameter``.
    requires_grad : bool, default True
    decay : bool, default True
        Whether weight decay applies; offsets of normalisation layers set it False.

    Raises
    ------
    TypeError
        If ``manifold`` is none of these.
    ValueError
        If ``data`` has no dimension.

    Notes
    -----
    ``Module.to_empty`` and ``load_state_dict(assign=True)`` put plain parameters in the place of
    this type, unless the module derives from :class:`KeepsManifoldParameters`.
    """

    manifold: HyperbolicChart
    decay: bool

    def __new__(  # noqa: D102 - documented on the class
        cls,
        data: Tensor,
        manifold: HyperbolicChart,
        requires_grad: bool = True,
        *,
        decay: bool = True,
    ) -> ManifoldParameter:
        if not isinstance(manifold, HyperbolicChart):
            raise TypeError(
                "manifold must be a Lorentz, LorentzTangent or PoincareBall instance; "
                f"got {type(manifold).__name__}"
            )
        if data.dim() == 0:
            raise ValueError("data must hold points (..., n); got a 0-dimensional tensor")
        instance: ManifoldParameter = torch.Tensor._make_subclass(cls, data.detach(), requires_grad)
        instance.manifold = manifold
        instance.decay = bool(decay)
        return instance

    def __deepcopy__(self, memo: dict[int, Any]) -> ManifoldParameter:
        if id(self) not in memo:
            data = self.data.clone(memory_format=torch.preserve_format)
            manifold = copy.deepcopy(self.manifold, memo)
            memo[id(self)] = type(self)(data, manifold, self.requires_grad, decay=self.decay)
        copied: ManifoldParameter = memo[id(self)]
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (type(self), self.data, self.manifold, self.requires_grad, self.decay)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"ManifoldParameter on {self.manifold}\n{self.data!r}"


def _rebuild(
    cls: type[ManifoldParameter],
    data: Tensor,
    manifold: HyperbolicChart,
    requires_grad: bool,
    decay: bool,
) -> ManifoldParameter:
    return cls(data, manifold, requires_grad, decay=decay)


class KeepsManifoldParameters(nn.Module):
    """Mixin for modules that own a :class:`ManifoldParameter`.

    PyTorch replaces parameters by plain ones in ``to_empty`` and ``load_state_dict(assign=True)``;
    a module that derives from this class gives them back their type, manifold and ``decay``.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = _own_points(self)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        _restore_points(self, before)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        before = _own_points(self)
        super()._load_from_state_dict(*args, **kwargs)
        _restore_points(self, before)


def _own_points(module: nn.Module) -> dict[str, ManifoldParameter]:
    return {k: p for k, p in module._parameters.items() if isinstance(p, ManifoldParameter)}


def _restore_points(module: nn.Module, before: dict[str, ManifoldParameter]) -> None:
    for name, old in before.items():
        new = module._parameters[name]
        if new is not None and not isinstance(new, ManifoldParameter):
            restored = ManifoldParameter(new, old.manifold, new.requires_grad, decay=old.decay)
            restored.grad = new.grad
            module._parameters[name] = restored
