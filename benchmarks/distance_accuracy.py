"""Accuracy of distances in float32: this package beside geoopt and HypLL.

Prints, per kind of pair and radius, the worst relative error against 120-digit arithmetic on the
exact float32 coordinates, over curvatures 0.05 to 20, and the worst error of the gradient; geoopt
takes ``acosh`` of an inner product. Then the same for the three charts in which points can be
stored, the Poincaré ball beside HypLL's, and under "store" what rounding the coordinates to float32
has changed already, before any formula. ``nan`` means that the worst answer was not a number,
``inf`` that it was infinite. Run::

    python benchmarks/distance_accuracy.py [--repeats 20]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import geoopt
import mpmath as mp
import torch
from torch import Tensor

from hypeeg.geometry import logstore, lorentz, poincare

try:
    from hypll.manifolds.poincare_ball.math import diffgeom as hypll
except ImportError:
    hypll = None

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)
RADII = (1e-4, 1e-2, 1.0, 3.0, 6.0, 10.0, 20.0, 40.0, 80.0)
KINDS = {
    "random": "random directions, one radius",
    "near 1e-3": "coordinates differ by 1e-3, relative",
    "near 1e-6": "coordinates differ by 1e-6, relative",
    "angle 1e-3": "one radius, 1e-3 rad apart",
    "radial": "one ray, radii 10 % apart",
    "unlike": "random directions, the other point at radius 1e-4",
}


def make_pair(kind: str, radius: float, c: float, generator: torch.Generator) -> list[Tensor]:
    """Draw two float32 points at ``sqrt(c) d(x, o) = radius``."""
    n, m = torch.randn(2, 8, dtype=torch.float64, generator=generator)
    n, m = n / n.norm(), m / m.norm()
    x = math.sinh(radius) * n / math.sqrt(c)
    if kind.startswith("near"):
        x = x.float().double()
        y = x * (1 + float(kind[5:]) * torch.randn(8, dtype=torch.float64, generator=generator))
    elif kind.startswith("angle"):
        direction = n + float(kind[6:]) * (m - (m @ n) * n)
        y = math.sinh(radius) * direction / direction.norm() / math.sqrt(c)
    elif kind == "radial":
        y = math.sinh(0.9 * radius) * n / math.sqrt(c)
    elif kind == "unlike":
        y = math.sinh(1e-4) * m / math.sqrt(c)
    else:
        y = math.sinh(radius) * m / math.sqrt(c)
    return [x.float(), y.float()]


def truth(x: Tensor, y: Tensor, c: float) -> tuple[mp.mpf, list[mp.mpf]]:
    """Return the exact distance of float points and its gradient by ``x``."""
    a, b = ([mp.mpf(v) for v in t.double().tolist()] for t in (x, y))
    k = mp.mpf(float(torch.tensor(c, dtype=torch.float32)))
    a_t, b_t = (mp.sqrt(1 / k + mp.fsum(v * v for v in p)) for p in (a, b))
    z = k * (a_t * b_t - mp.fsum(p * q for p, q in zip(a, b, strict=True)))
    slope = mp.sqrt(k) / mp.sqrt(z * z - 1)
    gradient = [slope * (p * b_t / a_t - q) for p, q in zip(a, b, strict=True)]
    return mp.acosh(z) / mp.sqrt(k), gradient


def ours(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Haversine distance of this package."""
    return lorentz.dist(x, y, c)


def textbook(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Return geoopt's distance: float32, ambient coordinates, ``k = 1 / c``."""
    manifold = geoopt.manifolds.Lorentz(k=torch.tensor(1 / c))
    # geoopt's own projection derives time from the space part.
    a, b = (manifold.projx(torch.cat([torch.zeros(1), t])) for t in (x, y))
    return manifold.dist(a, b)


def measure(
    distance: Callable[[Tensor, Tensor, float], Tensor], x: Tensor, y: Tensor, c: float
) -> tuple[float, float]:
    """Relative errors of a distance and of its gradient by ``x``."""
    expected, gradient = truth(x, y, c)
    x = x.clone().requires_grad_()
    d = distance(x, y, c)
    (got,) = torch.autograd.grad(d, x)
    error = abs(d.item() - float(expected)) / float(expected)
    if d.isfinite():
        error = float(abs(mp.mpf(d.item()) - expected) / expected)
    if not got.isfinite().all():
        return error, math.nan
    size = mp.sqrt(mp.fsum(v * v for v in gradient))
    gap = [mp.mpf(p) - q for p, q in zip(got.double().tolist(), gradient, strict=True)]
    return error, float(mp.sqrt(mp.fsum(v * v for v in gap)) / size)


def worst(values: list[float]) -> float:
    """Return the largest, or NaN if there is one."""
    return math.nan if any(math.isnan(v) for v in values) else max(values)


CHART_KINDS = {
    "random": "random directions, one radius",
    "near 1e-3": "1e-3 apart in angle and relative radius",
    "near 1e-5": "1e-5 apart in angle and relative radius",
    "radial": "one ray, radii 10 % apart",
}
Polar = tuple[mp.mpf, list[mp.mpf]]


def polar_pair(kind: str, radius: float, generator: torch.Generator) -> tuple[Polar, Polar]:
    """Draw two points as scaled radius and direction."""
    draws = torch.randn(2, 8, dtype=torch.float64, generator=generator)
    n, m = (unit([mp.mpf(v) for v in row]) for row in draws.tolist())
    r = mp.mpf(radius)
    if kind.startswith("near"):
        size = mp.mpf(kind[5:])
        m = unit([a + size * b for a, b in zip(n, m, strict=True)])
        return (r, n), (r * (1 + size), m)
    if kind == "radial":
        return (r, n), (mp.mpf("0.9") * r, n)
    return (r, n), (r, m)


def unit(v: list[mp.mpf]) -> list[mp.mpf]:
    """Return the vector scaled to length one."""
    length = mp.sqrt(mp.fsum(a * a for a in v))
    return [a / length for a in v]


def polar_distance(p: Polar, q: Polar) -> mp.mpf:
    """Return the exact distance for curvature -1, by the law of cosines in half angles."""
    (a, n), (b, m) = p, q
    chord = mp.fsum((s - t) ** 2 for s, t in zip(n, m, strict=True))
    h = mp.sinh((a - b) / 2) ** 2 + mp.sinh(a) * mp.sinh(b) * chord / 4
    return 2 * mp.asinh(mp.sqrt(h))


LENGTHS: dict[str, tuple[Callable, Callable]] = {  # coordinate length of a radius, and back
    "space": (mp.sinh, mp.asinh),
    "ball": (lambda r: mp.tanh(r / 2), lambda s: 2 * mp.atanh(s) if s < 1 else mp.inf),
    "tangent": (lambda r: r, lambda s: s),
}


def store(chart: str, p: Polar, c: float) -> Tensor:
    """Round the coordinates of a point to float32."""
    length = LENGTHS[chart][0](p[0]) / mp.sqrt(mp.mpf(c))
    return torch.tensor([float(length * v) for v in p[1]], dtype=torch.float64).float()


def recall(chart: str, x: Tensor, c: float) -> Polar:
    """Return the point that float32 coordinates stand for."""
    v = [mp.mpf(t) for t in x.double().tolist()]
    k = mp.mpf(float(torch.tensor(c, dtype=torch.float32)))
    return LENGTHS[chart][1](mp.sqrt(k * mp.fsum(t * t for t in v))), unit(v)


def hypll_distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Return HypLL's distance on the ball."""
    return hypll.dist(x, y, torch.tensor(c))


def charts(repeats: int, generator: torch.Generator) -> None:
    """Print the table of the charts."""
    columns: dict[str, tuple[str, Callable | None]] = {
        "space": ("space", lorentz.dist),
        "store ": ("space", None),
        "ball": ("ball", poincare.dist),
        **({"HypLL": ("ball", hypll_distance)} if hypll else {}),
        "store": ("ball", None),
        "tangent": ("tangent", logstore.dist),
        " store": ("tangent", None),
    }
    for kind, description in CHART_KINDS.items():
        print(f"stores, {kind}: {description}")
        print(" ".join([f"{'radius':>8}", *(f"{name.strip():>9}" for name in columns)]))
        for radius in (1e-2, 1.0, 3.0, 6.0, 10.0, 14.0, 20.0, 40.0, 80.0, 100.0):
            errors: dict[str, list[float]] = {name: [] for name in columns}
            for c in CURVATURES:
                for _ in range(repeats):
                    pair = polar_pair(kind, radius, generator)
                    intended = polar_distance(*pair)
                    for name, (chart, function) in columns.items():
                        if chart == "space" and radius > 85:  # beyond float32
                            errors[name].append(math.inf)
                            continue
                        x, y = (store(chart, p, c) for p in pair)
                        exact = polar_distance(*(recall(chart, t, c) for t in (x, y)))
                        if function is None:
                            errors[name].append(float(abs(exact / intended - 1)))
                            continue
                        k = mp.sqrt(mp.mpf(float(torch.tensor(c, dtype=torch.float32))))
                        got = function(x, y, c).item()
                        if math.isnan(got) or not mp.isfinite(exact) or exact == 0:
                            right = got == float(exact) and not math.isnan(got)
                            errors[name].append(0.0 if right else math.nan)
                        else:
                            errors[name].append(float(abs(mp.mpf(got) * k / exact - 1)))
            print(" ".join([f"{radius:8g}", *(f"{worst(e):9.1e}" for e in errors.values())]))
        print()
    if not hypll:
        print("HypLL is not installed; its column is missing (pip install hypll)")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10, help="pairs per curvature and cell")
    repeats = parser.parse_args().repeats
    mp.mp.dps = 120
    generator = torch.Generator().manual_seed(0)
    print(f"torch {torch.__version__}, geoopt {geoopt.__version__}, float32, c in {CURVATURES}")
    print(f"worst of {repeats * len(CURVATURES)} pairs; radius is sqrt(c) d(x, o)\n")
    for kind, description in KINDS.items():
        print(f"{kind}: {description}")
        print(f"{'radius':>8} {'ours':>9} {'geoopt':>9} {'ours, grad':>12} {'geoopt, grad':>13}")
        for radius in RADII:
            cells: list[list[tuple[float, float]]] = [[], []]
            for c in CURVATURES:
                for _ in range(repeats):
                    x, y = make_pair(kind, radius, c, generator)
                    if torch.equal(x, y):
                        continue
                    for cell, function in zip(cells, (ours, textbook), strict=True):
                        cell.append(measure(function, x, y, c))
            (d, grad_d), (naive, grad_naive) = (
                [worst(list(column)) for column in zip(*cell, strict=True)] for cell in cells
            )
            print(f"{radius:8g} {d:9.1e} {naive:9.1e} {grad_d:12.1e} {grad_naive:13.1e}")
        print()
    charts(max(1, repeats // 2), generator)


if __name__ == "__main__":
    main()
