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
from torch.nn import functional

from hypeeg.geometry.series import asinhc, sinhc
from hypeeg.nn.arcsinh import asinh_and_slope

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


def _across(x: Tensor, radial: Tensor, n: Tensor, out: Tensor) -> Tensor:
    """Return the parts of points across a ray."""
    if torch.compiler.is_compiling():
        return torch.addcmul(x, radial, n.view(-1, 1), value=-1)
    return torch.addcmul(x, radial, n.view(-1, 1), value=-1, out=out)


def _columns(vectors: Tensor, like: Tensor) -> Tensor:
    """Return k vectors (k, n) as the columns of matrices (B, n, k)."""
    return vectors.mT.expand(like.shape[0], -1, -1)


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
        n = functional.normalize(space, dim=0, eps=torch.finfo(x.dtype).tiny).to(x.dtype)
        directions = torch.stack([n, beta])
        radial, x_beta = torch.matmul(directions, x).chunk(2, 1)
        # |S| along its ray: what single points have lost averages out, in float64.
        time, along = tau.mean(dtype=wide), radial.mean(dtype=wide)
        norm = torch.sqrt((time**2 - c_wide * along**2).clamp(min=1.0))
        reach = (along / norm).to(x.dtype)
        n_beta, beta_beta = torch.mv(directions, beta).unbind()
        b = torch.sqrt(1 + c * beta_beta)
        m = torch.sqrt(1 + (c * reach) * reach)
        f, q, r = _turn(m, b, c * reach * n_beta, c)

        # The moved points are w = x + (climb - radial) n; they are never formed.
        across = _across(x, radial, n, y)
        square = across.mul_(across).sum(1, keepdim=True)
        climb = _radial(radial, square, reach, tau, m, c)
        moved = climb - radial
        w_beta = torch.addcmul(x_beta, moved, n_beta)
        w_mu = reach * climb
        safe = square.addcmul_(climb, climb).mul_(c).sqrt_().clamp_(min=_TINY)

        theta, cosh_theta = asinh_and_slope(safe)
        norm = cosh_theta.mean(dtype=wide)  # the same number, with more of its digits
        share = (1 / norm).to(x.dtype)
        dispersion = theta.mean(dtype=wide).div(c_wide.sqrt()).to(x.dtype)
        limit = _LONGEST[x.dtype] / theta
        phi = (gamma / (dispersion + eps)).clamp(-limit, limit).mul_(theta)
        grown = torch.exp(phi)
        cosh = grown.reciprocal().add_(grown).mul_(0.5)
        g = torch.tanh(phi).mul_(cosh).div_(safe)  # the hyperbolic sine keeps its digits near 0
        j, el = f * (w_beta - q * w_mu), f * (w_beta - r * w_mu)
        h = torch.addcmul(cosh, g, j)
        lift = torch.addcmul(moved, el, reach)
        y = _multiply(x, g, y)
        by = _columns(directions, x), torch.cat([g * lift, h], 1)
        # The compiler of torch 2.11 loses the gradient of an output that was changed in place.
        y = torch.baddbmm(y, *by) if torch.compiler.is_compiling() else y.baddbmm_(*by)
        mean = reach * n
        ctx.eps = eps
        ctx.save_for_backward(
            *(x, gamma, beta, c, directions, m, b, share, dispersion, reach, n_beta),
            *(tau, climb, moved, safe, theta, phi, cosh, g, j, el, h, cosh_theta, lift),
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
        saved = ctx.saved_tensors
        x, gamma, beta, c, directions, m, b, share, dispersion, reach, n_beta = saved[:11]
        tau, climb, moved, p, theta, phi, cosh, g, j, el, h, cosh_theta, lift = saved[11:]
        count, n = p.numel(), directions[0]
        mu_mu, mu_beta = reach * reach, reach * n_beta
        w_mu, mean = reach * climb, reach * n
        rho, by_m = c * mu_beta, 1 / (1 + m)
        f, q, r = _turn(m, b, rho, c)

        # y = g x + g lift n + h beta, where lift n = moved n + el mu
        d_n, d_h = torch.matmul(directions, grad).chunk(2, 1)
        y_mu = reach * d_n
        d_x = grad * x  # memory for the gradient of x too
        d_g = d_x.sum(1, keepdim=True).addcmul_(d_h, j).addcmul_(d_n, lift)
        d_j, d_el = d_h * g, y_mu * g
        d_w_beta, d_w_mu = f * (d_j + d_el), -f * (q * d_j + r * d_el)
        pull = (d_j * j).sum() + (d_el * el).sum()
        d_q, d_r = -f * (d_j * w_mu).sum(), -f * (d_el * w_mu).sum()
        d_z = -pull * f / c
        d_b = d_q + d_r * by_m + d_z * m
        d_rho = -d_q * by_m - d_z
        d_m = (d_q * rho * by_m - d_r * r) * by_m + d_z * b

        # g = sinh(phi)/p and h by the scale s and, over p, by p = sqrt(c)|w|. Where the length is
        # held, phi is constant.
        d_phi = (d_g * cosh / p).addcmul_(d_j, p)
        longest = _LONGEST[x.dtype] * (1 - 1e-6)  # a held length is rounded
        d_phi = d_phi * (phi.abs() < longest)
        d_scale = (d_phi * theta).sum()
        d_gamma = d_scale / (dispersion + ctx.eps)
        spread = gamma / (dispersion + ctx.eps)
        d_dispersion = -d_gamma * spread.squeeze()
        d_theta = spread * d_phi + d_dispersion / (count * torch.sqrt(c))
        p_p = p * p
        e = (d_theta * p / cosh_theta).addcmul_(d_g, g, value=-1).div_(p_p).mul_(c)

        # w = x + k mu with k = c <x, mu> / (1 + m) - tau = -(tau + cosh theta) / (1 + m)
        k = (tau + cosh_theta) * -by_m
        d_k = d_el + d_w_beta * mu_beta + d_w_mu * mu_mu + e * w_mu
        pulled = c * d_k
        own = d_w_mu * k + pulled * cosh_theta * (by_m / m)

        # Sums over points: to beta and to mu. Those over w are over its parts x and moved n.
        over_grad = torch.matmul(grad, torch.cat([h, g * (k + el)], 1).mT).sum(0)
        weights = torch.cat([d_w_beta, k * e + d_w_mu + pulled * by_m], 1)
        over_w = torch.matmul(x, weights.mT).sum(0)
        over_w = torch.addcmul(over_w, n.view(-1, 1), (weights * moved).sum((0, 2)))
        d_beta, d_mu = (over_grad + over_w).unbind(1)
        d_beta = d_beta + (d_b * c / b) * beta + d_rho * c * mean
        d_mu = d_mu + ((k * d_w_beta).sum() + d_rho * c) * beta
        d_mu = d_mu + (own.sum() + c * d_m / m) * mean

        # mu = S / sqrt(T^2 - c|S|^2), S and T the means of space parts and of tau
        inward = torch.dot(d_mu, mean)
        part = c * inward * share / count

        pulled = pulled / tau
        by_w = e - pulled - part * m / tau
        by_mu = d_w_mu + (part * c * w_mu / tau - pulled * cosh_theta) * by_m
        d_x = _multiply(grad, g, d_x).addcmul_(by_w, x)
        by_n = torch.addcmul(by_w * moved, by_mu, reach)
        even = (share / count).expand_as(by_n)
        vectors = torch.cat([directions, d_mu.unsqueeze(0)])
        d_x.baddbmm_(_columns(vectors, d_x), torch.cat([by_n, d_w_beta, even], 1))

        d_c = None
        if ctx.needs_input_grad[3]:
            d_c = (
                (pull + d_rho * rho) / c
                + d_b * (b * b - 1) / (2 * b * c)
                - d_dispersion * dispersion / (2 * c)
                + (e * p_p).sum() / (2 * c * c)
                + (d_k * (1 / tau - cosh_theta / m)).sum() / (2 * c)
                + d_m * mu_mu / (2 * m)
                + inward * (m * share * (1 / tau).mean() - 1) / (2 * c)
            )
        return d_x, d_gamma.view_as(gamma), d_beta, d_c, None
