"""A process of its own that takes steps of hypeeg's optimiser, one request a line.

torch takes half a gigabyte: the dashboard's process stays without it. Requests and answers are
lines of JSON on standard input and output; the end of the input ends the process.
"""

from __future__ import annotations

import json
import sys
from typing import Any

MOVES = ("none", "exp", "scale")


def tree_distances(depth: int) -> list[list[int]]:
    """Return the distances between the nodes of a balanced binary tree, root first."""
    n = 2 ** (depth + 1) - 1

    def steps(i: int, j: int) -> int:
        count = 0
        # The larger number is never the ancestor: it goes up.
        while i != j:
            i, j = min(i, j), (max(i, j) - 1) // 2
            count += 1
        return count

    return [[steps(i, j) for j in range(n)] for i in range(n)]


def train(
    move: str,
    *,
    c: float,
    depth: int,
    lr: float,
    curvature_lr: float,
    steps: int,
    spread: float,
    gradient: str = "autograd",
) -> dict[str, Any]:
    """Embed a tree in the plane by Riemannian AdamW with a learned curvature.

    Returns
    -------
    dict
        Before each step and after the last: ``c``, ``loss`` (mean squared difference of the
        distances of all pairs from those in the tree), ``points`` (space parts), ``dist0`` and
        ``between``, the distances to the origin and of all pairs.
    """
    import torch

    from hypeeg.geometry import Lorentz, ManifoldParameter
    from hypeeg.optim import RiemannianAdamW

    target = torch.tensor(tree_distances(depth), dtype=torch.float64)
    n = len(target)
    space = Lorentz(c=c, learnable=True)
    level = torch.tensor([(i + 1).bit_length() - 1 for i in range(n)], dtype=torch.float64)
    place = torch.tensor([i + 1 - 2 ** ((i + 1).bit_length() - 1) for i in range(n)])
    angle = 2 * torch.pi * (place + 0.5) / 2**level
    tangents = spread * level[:, None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
    points = ManifoldParameter(space.expmap0(tangents).detach(), space)
    optimizer = RiemannianAdamW(
        [points],
        lr=lr,
        weight_decay=0.0,
        curvature_lr=curvature_lr,
        curvature_move=move,
        curvature_gradient=gradient,
    )
    rows, columns = torch.triu_indices(n, n, 1)

    def stress() -> Any:
        between = space.dist(points[rows], points[columns])
        return (between - target[rows, columns]).square().mean()

    out: dict[str, Any] = {"c": [], "loss": [], "points": [], "dist0": [], "between": []}
    for step in range(steps + 1):
        optimizer.zero_grad()
        loss = stress()
        with torch.no_grad():
            out["c"].append(float(space.c))
            out["loss"].append(float(loss))
            out["points"].append(points.tolist())
            out["dist0"].append(space.dist0(points).tolist())
            out["between"].append(space.dist(points[rows], points[columns]).tolist())
        if step < steps:
            loss.backward()
            optimizer.step()
    return out


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Train once by each move; and take one step of the curvature alone, points at rest."""
    names = ("c", "depth", "lr", "curvature_lr", "steps", "spread", "gradient")
    given = {name: request[name] for name in names}
    alone = {**given, "lr": 0.0, "steps": 1}
    return {
        "together": {move: train(move, **given) for move in MOVES},
        "alone": {move: train(move, **alone) for move in MOVES},
    }


def main() -> None:
    """Answer requests until the input ends."""
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        # A bad request is told to the one who asked; the next may be better.
        except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
