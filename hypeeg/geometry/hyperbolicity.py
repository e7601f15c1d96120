r"""How tree-like a set of distances is: Gromov's four-point hyperbolicity.

For four points, pair them up in the three possible ways and add the two distances of each pairing;
:math:`\delta` of the four is half the difference between the largest and the middle sum, and
:math:`\delta` of a set is the largest over its quadruples. It is 0 exactly for distances in a tree,
at most :math:`\ln 2/\sqrt c` in the hyperbolic space of curvature :math:`-c`, and grows with the
diameter in a flat space. With Gromov products :math:`(x|y)_w = (d(x, w) + d(y, w) - d(x, y))/2`,

.. math:: \delta = \max_w \max_{x, y} \bigl(\max_z \min((x|z)_w, (z|y)_w) - (x|y)_w\bigr),

whose inner maximum is a (max, min) product of matrices.

References
----------
M. Gromov, "Hyperbolic groups", Essays in Group Theory, 75-263, 1987.
H. Fournier, A. Ismail, A. Vigneron, "Computing the Gromov hyperbolicity of a discrete metric
space", Inf. Process. Lett. 115, 576-579, 2015.
B. Nica, J. Špakula, "Strong hyperbolicity", Groups Geom. Dyn. 10, 951-964, 2016 (the bound).
V. Khrulkov et al., "Hyperbolic image embeddings", CVPR 2020 (the relative value).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Numbers in one intermediate tensor: 1 MiB in float64, which fits into the cache of a core.
_BLOCK_NUMBERS = 2**17


def gromov_products(distances: Tensor, base: int) -> Tensor:
    """Return the Gromov products of all pairs of points seen from one of them.

    Parameters
    ----------
    distances : Tensor, shape (N, N)
        Symmetric, zero on the diagonal.
    base : int
        Index of the point w.

    Returns
    -------
    Tensor, shape (N, N)
        How long geodesics from w to x and to y run together, about; distances to w on the diagonal.
    """
    from_base = distances[base]
    return 0.5 * (from_base[:, None] + from_base - distances)


def gromov_delta(distances: Tensor, bases: Iterable[int] | None = None) -> Tensor:
    """Return the hyperbolicity of a finite metric space.

    Parameters
    ----------
    distances : Tensor, shape (N, N)
        Distances of all pairs of points, float64 for exact results on large spaces.
    bases : iterable of int, optional
        Points w to look from. By default all of them, which is exact and takes time N^4; one alone
        takes N^3 and gives at least half the exact value, never more than it.

    Returns
    -------
    Tensor, shape ()
        Zero for fewer than four points.

    Raises
    ------
    ValueError
        If the distances are no square symmetric matrix with a zero diagonal, or not finite.
    """
    _check(distances)
    n = len(distances)
    rows = max(1, _BLOCK_NUMBERS // n**2)
    delta = distances.new_zeros(())
    for base in range(n) if bases is None else bases:
        products = gromov_products(distances, base)
        for start in range(0, n, rows):
            block = products[start : start + rows]
            # The matrix is symmetric: rows stand for columns, and pairs are taken in one order.
            best = torch.minimum(block[:, None], products[None, start:]).amax(-1)
            delta = torch.maximum(delta, (best - block[:, start:]).amax())
    return delta


def relative_delta(distances: Tensor, bases: Iterable[int] | None = None) -> Tensor:
    """Return twice the hyperbolicity over the diameter, which has no unit.

    Parameters
    ----------
    distances : Tensor, shape (N, N)
        Distances of all pairs of points.
    bases : iterable of int, optional
        See :func:`gromov_delta`.

    Returns
    -------
    Tensor, shape ()
        From 0 (a tree) to 1; NaN if all points are the same. It rises with the number of points
        and falls with the dimension, where distances become alike: compare it only with values
        for as many points of as many dimensions.
    """
    return 2.0 * gromov_delta(distances, bases) / distances.amax()


def _check(distances: Tensor) -> None:
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1] or not len(distances):
        raise ValueError(f"distances must be a square matrix, got shape {tuple(distances.shape)}")
    if not bool(torch.isfinite(distances).all()):
        raise ValueError("distances must be finite; drop points that are NaN or infinite first")
    off = (distances - distances.T).abs().amax()
    scale = 1e-4 * distances.abs().amax()
    if bool(off > scale) or bool(distances.diagonal().abs().amax() > scale):
        raise ValueError(
            "distances must be symmetric with zeros on the diagonal; pass the distances of all "
            "pairs of one set of points"
        )
