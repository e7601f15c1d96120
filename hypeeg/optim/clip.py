"""Gradient clipping by Riemannian norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from hypeeg.geometry import Lorentz, Manifold, ManifoldParameter
from hypeeg.optim.frame import row_dot, vector_length
from hypeeg.optim.sparse import is_row_sparse, touched


@torch.no_grad()
def riemannian_grad_norm(p: Tensor, norm_type: float = 2.0) -> Tensor:
    r"""Return the norm of the gradient of one parameter.

    That of a :class:`~hypeeg.geometry.ManifoldParameter` consists of the Riemannian norms of its
    points' gradients, which are the same in every chart; on the Lorentz model
    :math:`\sqrt{|g|^2 + c\langle x, g\rangle^2}` with ``g`` autograd's gradient in the space part.
    Any other parameter has the Euclidean norm of its entries.

    Parameters
    ----------
    p : Tensor
        A parameter with a gradient, dense or sparse.
    norm_type : float, default 2.0
        Order of the norm over points and over Euclidean entries; may be ``inf``.

    Returns
    -------
    Tensor, 0-dimensional

    Raises
    ------
    ValueError
        If ``p`` has no gradient.
    RuntimeError
        If a sparse gradient of a manifold parameter does not name whole rows.
    """
    if p.grad is None:
        raise ValueError(f"the parameter of shape {tuple(p.shape)} has no gradient")
    return _norm(p, p.grad, norm_type)


def _norm(p: Tensor, g: Tensor, norm_type: float) -> Tensor:
    norm: Tensor
    if not isinstance(p, ManifoldParameter):
        values = g.coalesce()._values() if g.is_sparse else g
        norm = torch.linalg.vector_norm(values, norm_type)
        return norm
    points = p.detach()
    if g.is_sparse:
        if not is_row_sparse(g):
            raise RuntimeError(
                f"the sparse gradient of the manifold parameter of shape {tuple(p.shape)} does not "
                "name whole rows; give one with sparse_dim 1, or a dense one"
            )
        index, g = touched(g)
        points = points.index_select(0, index).reshape(-1, p.shape[-1])
    if isinstance(p.manifold, Lorentz):
        c = p.manifold.c.detach().to(p.device)
        x_dot_g = row_dot(points, g)
        lengths = vector_length(g).square_().add_(c * x_dot_g * x_dot_g).sqrt_()
    else:
        manifold = cast(Manifold, p.manifold)
        lengths = manifold.norm(points, manifold.egrad2rgrad(points, g))
    norm = torch.linalg.vector_norm(lengths, norm_type)
    return norm.to(p.dtype)


@torch.no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
    *,
    per_parameter: bool = False,
) -> Tensor:
    """Clip gradients by their Riemannian norm, in place.

    A drop-in for :func:`torch.nn.utils.clip_grad_norm_`, which measures gradients of points by
    coordinates whose scale changes exponentially with the distance to the origin. One norm of
    all gradients together is computed and, where it exceeds ``max_norm``, all are scaled by the
    same number: a common direction is kept. Gradients of curvatures count as Euclidean, in
    ``log c``.

    Parameters
    ----------
    parameters : iterable of Tensor or Tensor
        Parameters; those without a gradient are left out.
    max_norm : float
        Largest norm.
    norm_type : float, default 2.0
        Order of the norm over points and over Euclidean entries; may be ``inf``.
    error_if_nonfinite : bool, default False
        Raise when a norm is NaN or infinite (waits for the device).
    foreach : bool, optional
        For the norms of Euclidean parameters, as in torch.
    per_parameter : bool, default False
        Clip every parameter by its own norm.

    Returns
    -------
    Tensor
        The joint norm before clipping, 0-dimensional; with ``per_parameter`` the norms, of shape
        ``(k,)`` for the k parameters with a gradient.

    Raises
    ------
    ValueError
        If ``max_norm`` is negative or NaN.
    RuntimeError
        If a norm is not finite and ``error_if_nonfinite`` is set, or a sparse gradient of a
        manifold parameter does not name whole rows.
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be at least 0; got {max_norm}")
    params = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    params = [p for p in params if p.grad is not None]
    grads = [cast(Tensor, p.grad) for p in params]
    if not params:
        return torch.zeros(0 if per_parameter else ())
    if per_parameter:
        norms = [_norm(p, g, norm_type) for p, g in zip(params, grads, strict=True)]
        for norm, g in zip(norms, grads, strict=True):
            g.mul_(_factor(norm, max_norm).to(g))
        total = torch.stack([norm.to(norms[0]) for norm in norms])
    else:
        plain, rest = [], []
        for p, g in zip(params, grads, strict=True):
            if isinstance(p, ManifoldParameter) or g.is_sparse:
                rest.append(_norm(p, g, norm_type))
            else:
                plain.append(g)
        if plain:
            rest.append(get_total_norm(plain, norm_type, foreach=foreach))
        device = rest[0].device
        total = torch.linalg.vector_norm(
            torch.stack([n.to(device) for n in _alike(rest)]), norm_type
        )
        factor = _factor(total, max_norm)
        for g in grads:
            g.mul_(factor.to(g))
    if error_if_nonfinite and not bool(total.isfinite().all()):
        raise RuntimeError(
            f"the Riemannian norm of order {norm_type} of the gradients is not finite: {total}; "
            "look for the first layer with a NaN, or set error_if_nonfinite=False"
        )
    return total


def _alike(norms: list[Tensor]) -> list[Tensor]:
    dtype = norms[0].dtype
    for norm in norms:
        dtype = torch.promote_types(dtype, norm.dtype)
    return [norm.to(dtype) for norm in norms]


def _factor(norm: Tensor, max_norm: float) -> Tensor:
    # as in torch: no branch on a number that lies on the device
    return (max_norm / (norm + 1e-6)).clamp(max=1.0)
