"""AdamW on coordinates as if they were Euclidean: what the Riemannian optimisers compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from hypeeg.geometry import CurvatureParameter, ManifoldParameter
from hypeeg.optim.groups import check_number, curvatures_among, tensor_of


class CoordinateAdamW(torch.optim.AdamW):
    r""":class:`torch.optim.AdamW` on all parameters, points on a manifold included; a baseline.

    The coordinates of a :class:`~hypeeg.geometry.ManifoldParameter` take the steps of numbers that
    mean nothing: the gradient is not turned into the Riemannian one, every coordinate has a second
    moment of its own, steps are straight and decay multiplies coordinates.  On another chart the
    same points therefore go another way.  Curvatures, found as by
    :class:`~hypeeg.optim.RiemannianAdamW`, learn as there: a group of their own, with a learning
    rate of their own and no decay.  **Points do not follow a curvature that changes**; their
    coordinates stay as they are, as under the curvature move ``"none"``.

    After each step curvatures are projected onto their bounds, and points that left the ball onto
    its edge; the other two charts have none.

    Parameters
    ----------
    params : iterable
        Parameters, ``named_parameters()`` or parameter groups.
    lr : float or Tensor, default 1e-3
        Learning rate.
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the first and second moment.
    eps : float, default 1e-8
        Added to the root of the second moment.
    weight_decay : float, default 1e-2
        Decoupled weight decay; none for curvatures and parameters with ``decay=False``.
    curvature_lr : float or Tensor, default 1e-2
        Learning rate of ``log c``.

    Raises
    ------
    TypeError
        If `curvature_lr` is not a number.
    ValueError
        If an argument lies outside its range.

    Notes
    -----
    A group of the caller becomes up to two, the second of parameters with ``decay=False``; the
    group of the curvatures comes last.

    Examples
    --------
    >>> import torch
    >>> from hypeeg.geometry import Lorentz, ManifoldParameter
    >>> m = Lorentz(c=1.0, learnable=True)
    >>> points = ManifoldParameter(torch.full((3, 2), 0.5), manifold=m)
    >>> optimizer = CoordinateAdamW([points], lr=0.1)
    >>> m.dist0(points).sum().backward()
    >>> optimizer.step()
    >>> points[0, 0].item() < 0.5
    True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        curvature_lr: float | Tensor = 1e-2,
    ) -> None:
        check_number("curvature_lr", curvature_lr, remedy="The default is 1e-2.")
        given: list[Any] = list(params)
        groups: list[dict[str, Any]] = []
        curvatures: dict[int, Any] = {}
        for group in given if given and isinstance(given[0], dict) else [{"params": given}]:
            entries = group["params"]
            entries = [entries] if isinstance(entries, Tensor) else list(entries)
            for entry in curvatures_among(entries):
                curvatures.setdefault(id(tensor_of(entry)), entry)
            kept = [e for e in entries if not isinstance(tensor_of(e), CurvatureParameter)]
            spared = [e for e in kept if not getattr(tensor_of(e), "decay", True)]
            decayed = [e for e in kept if getattr(tensor_of(e), "decay", True)]
            groups.append({**group, "params": decayed})
            groups.append({**group, "params": spared, "weight_decay": 0.0})
        found = list(curvatures.values())
        groups.append({"params": found, "lr": curvature_lr, "weight_decay": 0.0})
        filled = [g for g in groups if g["params"]]
        super().__init__(filled, lr, betas, eps, weight_decay)

    def step(self, closure: Any = None) -> Any:
        """Take torch's step, then put what left its domain back into it.

        Parameters
        ----------
        closure : callable, optional
            Clears gradients, evaluates the loss, calls ``backward`` and returns the loss.

        Returns
        -------
        float or Tensor or None
            What the closure returned.
        """
        loss = super().step(closure)
        params = [p for group in self.param_groups for p in group["params"]]
        for log_c in (p for p in params if isinstance(p, CurvatureParameter)):
            log_c.project_()
        with torch.no_grad():
            for p in (p for p in params if isinstance(p, ManifoldParameter)):
                p.copy_(p.manifold.projx(p))
        return loss
