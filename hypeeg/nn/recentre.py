r"""Batch normalisation of points as a function: move, scale, move again.

The points ``x`` have shape ``(B, n, P)``, manifold dimension in the middle. The isometry that takes
``mu`` to the origin along their geodesic takes ``x`` to

.. math:: w = x + (w_r - x_r) n, \qquad w_r = m x_r - |\mu| \tau, \qquad
          n = \mu/|\mu|, \quad x_r = \langle x, n\rangle,

with ``tau`` and ``m`` the time parts of ``x`` and ``mu`` times ``sqrt(c)``. Far from the origin the
difference cancels; it is the quotient
``((x_r - |mu|)(x_r + |mu|) - c |mu|^2 |x - x_r n|^2) / (m x_r + |mu| tau)``, which loses no more
than the rounding of the coordinates has. In the new frame scaling about ``mu`` is scaling of
``theta = asinh(sqrt(c)|w|)``. Back to ``mu`` and from there along the geodesic to ``beta``:

.. math:: y = g w + g l \mu + (\cosh s\theta + g j) \beta, \quad
          g = \frac{\sinh s\theta}{\sinh\theta}, \quad
          (j, l) = \frac{c}{1 + Z} \bigl(w\cdot\beta - (q, r)\, w\cdot\mu\bigr),

with ``b`` the time part of ``beta`` times ``sqrt(c)``, ``rho = c mu.beta``, ``Z = m b - rho``,
``q = b - rho/(1 + m)`` and ``r = c|beta|^2 / ((1 + b)(1 + m))``. This is
``exp_beta(transport_{mu -> beta}(s log_mu(x)))`` without leaving the space parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hypeeg.geometry.series import asinhc, sinhc

# Beyond this scaled length coordinates would overflow in the squares of the next layer: an outlier
# of a batch is held there. Rescaling, which follows, is flat long before.
_LONGEST = {torch.float32: 40.0, torch.float64: 300.0}

# Divisors are at least this. What is divided vanishes with them, so the quotients stay right.
_TINY = 1e-16


def stats_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which sums over many points are kept: float64 where there is one."""
    return x.dtype if x.device.type == "mps" else torch.float64


def centroid_of_sums(space: Tensor, time: Tensor, c: Tensor) -> Tensor:
    """Return the centroid from mean space parts ``(..., n)`` and mean ``sqrt(c) x_t`` ``(..., 1)``.

    ``time^2 - c |space|^2`` is at least 1 for points of the hyperboloid; in float64 it keeps what
    the rounding of the single points, which averages out, has left of it.
    """
    squared = time**2 - c * (space**2).sum(-1, keepdim=True)
    # Straight through: rounding below the bound is corrected, the gradient is not stopped.
    squared = squared + (squared.clamp(min=1.0) - squared).detach()
    return space / torch.sqrt(squared)


def to_origin(x: Tensor, mean: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Move points by the isometry that takes ``mean`` to the origin.

    Parameters
    ----------
    x : Tensor, shape (B, n, P)
    mean : Tensor, shape (B, n, 1) or (1, n, 1)
    c : Tensor, 0-dimensional, of the dtype of ``x``

    Returns
    -------
    w : Tensor, shape (B, n, P)
        Space parts of the moved points.
    p : Tensor, shape (B, 1, P)
        ``sqrt(c)|w|``, with gradient zero where ``w`` is zero.
    """
    tau = torch.sqrt(1 + c * (x * x).sum(1, keepdim=True))
    m = torch.sqrt(1 + c * (mean * mean).sum(1, keepdim=True))
    # The value comes from the form that does not cancel, the derivative from the one that has no
    # direction of a vanishing mean.
    w = torch.addcmul(x, c * (x * mean).sum(1, keepdim=True) / (1 + m) - tau, mean)
    with torch.no_grad():
        reach = torch.linalg.vector_norm(mean, dim=1, keepdim=True)
        n = mean / torch.where(reach > 0, reach, 1.0)
        radial = (x * n).sum(1, keepdim=True)
        exact = torch.addcmul(x, radial, n, value=-1)
        square = (exact * exact).sum(1, keepdim=True)
        exact = torch.addcmul(exact, _radial(radial, square, reach, tau, m, c), n) - w
    w = w + exact
    squared = c * (w * w).sum(1, keepdim=True)
    apart = squared > 0
    return w, torch.where(apart, torch.sqrt(torch.where(apart, squared, 1.0)), 0.0)


def from_origin(
    w: Tensor, p: Tensor, mean: Tensor, scale: Tensor, bias: Tensor | None, c: Tensor
) -> Tensor:
    """Scale points about the centre and carry the centre from ``mean`` to ``bias``.

    Parameters
    ----------
    w, p : Tensor
        From :func:`to_origin`.
    mean : Tensor, shape (B, n, 1) or (1, n, 1)
        The centre there.
    scale : Tensor
        Factor on distances to the centre, broadcasting against ``p``.
    bias : Tensor, shape (n,), or None
        Space part of the new centre; the origin if None.
    c : Tensor, 0-dimensional, of the dtype of ``w``

    Returns
    -------
    Tensor, shape (B, n, P)
    """
    per = asinhc(p)
    theta = p * per
    limit = _LONGEST[w.dtype] / torch.where(theta > 0, theta, torch.finfo(w.dtype).tiny)
    scale = torch.clamp(scale, -limit, limit)
    phi = scale * theta
    ratio = sinhc(phi)
    g = scale * ratio * per
    if bias is None:
        return g * w
    beta = bias.view(-1, 1)
    m = torch.sqrt(1 + c * (mean * mean).sum(1, keepdim=True))
    b = torch.sqrt(1 + c * (bias * bias).sum())
    f, q, r = _turn(m, b, c * (mean * beta).sum(1, keepdim=True), c)
    w_mu, w_beta = (w * mean).sum(1, keepdim=True), (w * beta).sum(1, keepdim=True)
    h = torch.sqrt(1 + (phi * ratio) ** 2) + g * f * (w_beta - q * w_mu)
    return g * w + g * f * (w_beta - r * w_mu) * mean + h * beta


def _turn(m: Tensor, b: Tensor, rho: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return c / (1 + m * b - rho), b - rho / (1 + m), (b - 1) / (1 + m)


def _radial(
    x_r: Tensor, square: Tensor, reach: Tensor, tau: Tensor, m: Tensor, c: Tensor
) -> Tensor:
    """Return ``m x_r - reach tau``; square is the squared length of x across the ray."""
    ahead, behind = m * x_r, reach * tau
    quotient = ((x_r - reach) * (x_r + reach) - c * reach**2 * square) / (ahead + behind)
    return torch.where(x_r > 0, quotient, ahead - behind)


def _multiply(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    # Fresh memory costs more than arithmetic: each product of the size of the batch goes into
    # memory at hand. A compiler plans memory itself, and takes no ``out`` that is not contiguous.
    return a * b if torch.compiler.is_compiling() else torch.mul(a, b, out=out)


class BatchNormalise(torch.autograd.Function):
    """Batch normalisation with the statistics of the batch, in few passes over the points.

    ``apply(x, gamma, beta, c, eps)`` with ``x (B, n, P)``, ``gamma (1,)``, ``beta (n,)`` and the
    0-dimensional ``c`` returns the normalised points, the centroid ``(n,)`` and the mean distance
    to it, 0-dimensional; the last two carry no gradient. The backward pass is written by hand:
    autograd through :func:`to_origin` and :func:`from_origin` passes over the points three times as
    often. It cannot be differentiated again, and says so.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, c: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return output, centroid and dispersion."""
        wide = stats_dtype(x)
        c_wide, c = c.to(wide), c.to(x.dtype)
        y = x * x  # memory for products, and in the end for the output
        tau = y.sum(1, keepdim=True).mul_(c).add_(1).sqrt_()
        space = x.sum(2).sum(0, dtype=wide)
        length = space.square().sum().sqrt()
        n = (space / length.clamp(min=torch.finfo(x.dtype).tiny)).to(x.dtype)
        ray = n.view(-1, 1)
        radial = torch.matmul(n, x).unsqueeze(1)
        # |S| along its ray: what single points have lost averages out, in float64.
        time, along = tau.mean(dtype=wide), radial.mean(dtype=wide)
        norm = torch.sqrt((time**2 - c_wide * along**2).clamp(min=1.0))
        reach = (along / norm).to(x.dtype)
        mean = reach * n
        m = torch.sqrt(1 + (c * reach) * reach)

        w = torch.addcmul(x, radial, ray, value=-1)
        square = _multiply(w, w, y).sum(1, keepdim=True)
        w.addcmul_(_radial(radial, square, reach, tau, m, c), ray)
        mu = mean.view(-1, 1)
        directions = torch.stack([mean, beta])
        w_mu, w_beta = torch.matmul(directions, w).chunk(2, 1)

        p = _multiply(w, w, y).sum(1, keepdim=True).mul_(c).sqrt_()
        cosh_theta = torch.sqrt(1 + p * p)
        norm = cosh_theta.mean(dtype=wide)  # the same number, with more of its digits
        share = (1 / norm).to(x.dtype)
        safe = p.clamp(min=_TINY)
        theta = torch.asinh(safe)
        dispersion = theta.mean(dtype=wide).div(c_wide.sqrt()).to(x.dtype)
        limit = _LONGEST[x.dtype] / theta
        phi = (gamma / (dispersion + eps)).clamp(-limit, limit).mul_(theta)
        sinh = torch.sinh(phi)
        g = sinh / safe
        b = torch.sqrt(1 + c * (beta * beta).sum())
        f, q, r = _turn(m, b, c * (mean * beta).sum(), c)
        j, el = f * (w_beta - q * w_mu), f * (w_beta - r * w_mu)
        cosh = sinh.square_().add_(1).sqrt_()
        h = torch.addcmul(cosh, g, j)
        y = _multiply(w, g, y).addcmul_(h, beta.view(-1, 1)).addcmul_(g * el, mu)
        ctx.eps = eps
        ctx.save_for_backward(
            *(w, gamma, beta, c, directions, m, b, share, dispersion),
            *(tau, w_mu, safe, theta, phi, cosh, g, j, el, h, cosh_theta),
        )
        ctx.mark_non_differentiable(mean, dispersion)
        return y, mean, dispersion

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of points, scale, centre and curvature.

        Names: ``d_a`` is the derivative of the loss by ``a``. No quotient needs a series near zero:
        its factor is zero there, and the rounding of the rest is that of the first term.
        """
        w, gamma, beta, c, directions, m, b, share, dispersion = ctx.saved_tensors[:9]
        tau, w_mu, p, theta, phi, cosh, g, j, el, h, cosh_theta = ctx.saved_tensors[9:]
        count, mean = p.numel(), directions[0]
        mu_mu, mu_beta, beta_beta = (directions @ directions.mT).flatten()[[0, 1, 3]].unbind()
        f, q, r = _turn(m, b, c * mu_beta, c)

        # y = g w + g l mu + h beta
        y_mu, d_h = torch.matmul(directions, grad).chunk(2, 1)
        d_x = grad * w  # memory for the gradient of x too
        d_g = d_x.sum(1, keepdim=True).addcmul_(d_h, j).addcmul_(y_mu, el)
        d_j, d_el = d_h * g, y_mu * g
        d_w_beta, d_w_mu = f * (d_j + d_el), -f * (q * d_j + r * d_el)
        pull = (d_j * j).sum() + (d_el * el).sum()
        d_q, d_r = -f * (d_j * w_mu).sum(), -f * (d_el * w_mu).sum()
        d_z = -pull * f / c
        d_b = d_q + d_r / (1 + m) + d_z * m
        d_rho = -d_q / (1 + m) - d_z
        d_m = d_q * c * mu_beta / (1 + m) ** 2 - d_r * r / (1 + m) + d_z * b

        # g = sinh(phi)/p and h by the scale s and, over p, by p = sqrt(c)|w|. Where the length is
        # held, phi is constant.
        d_phi = (d_g * cosh / p).addcmul_(d_j, p)
        d_phi = d_phi * (phi.abs() < _LONGEST[w.dtype])
        d_scale = (d_phi * theta).sum()
        spread = gamma / (dispersion + ctx.eps)
        d_gamma = d_scale / (dispersion + ctx.eps)
        d_dispersion = -d_gamma * spread.squeeze()
        d_theta = spread * d_phi + d_dispersion / (count * torch.sqrt(c))
        p_p = p * p
        e = (d_theta * p / cosh_theta).addcmul_(d_g, g, value=-1).div_(p_p).mul_(c)

        # w = x + k mu with k = c <x, mu> / (1 + m) - tau = -(tau + cosh theta) / (1 + m)
        k = (tau + cosh_theta) / -(1 + m)
        d_k = d_el + d_w_beta * mu_beta + d_w_mu * mu_mu + e * w_mu
        pulled = c * d_k
        own = d_w_mu * k + pulled * cosh_theta / (m * (1 + m))

        # Sums over points: to beta and to mu.
        over_grad = torch.matmul(grad, torch.cat([h, g * (k + el)], 1).mT).sum(0)
        weights = torch.cat([d_w_beta, k * e + d_w_mu + pulled / (1 + m)], 1)
        over_w = torch.matmul(w, weights.mT).sum(0)
        d_beta = over_grad[:, 0] + over_w[:, 0] + (d_b * c / b) * beta + d_rho * c * mean
        d_mu = over_grad[:, 1] + over_w[:, 1] + ((k * d_w_beta).sum() + d_rho * c) * beta
        d_mu = d_mu + (own.sum() + c * d_m / m) * mean

        # mu = S / sqrt(T^2 - c|S|^2), S and T the means of space parts and of tau
        inward = (d_mu * mean).sum()
        part = c * inward * share / count

        pulled = pulled / tau
        by_w = e - pulled - part * m / tau
        by_mu = d_w_mu + (part * c * w_mu / tau - pulled * cosh_theta) / (1 + m)
        d_x = _multiply(grad, g, d_x).addcmul_(by_w, w).addcmul_(by_mu, mean.view(-1, 1))
        d_x.addcmul_(d_w_beta, beta.view(-1, 1)).add_((d_mu * (share / count)).view(-1, 1))

        d_c = (
            (pull + d_rho * c * mu_beta) / c
            + d_b * beta_beta / (2 * b)
            - d_dispersion * dispersion / (2 * c)
            + (e * p_p).sum() / (2 * c * c)
            + (d_k * (1 / tau - cosh_theta / m)).sum() / (2 * c)
            + d_m * mu_mu / (2 * m)
            + inward * (m * share * (1 / tau).mean() - 1) / (2 * c)
        )
        return d_x, d_gamma.view_as(gamma), d_beta, d_c, None
