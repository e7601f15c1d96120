"""Parameter groups: what may be in them, and the curvatures they bring along."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from hypeeg.geometry import CurvatureParameter, ManifoldParameter
from hypeeg.optim.curvature import chart_of, check_gradient, check_move

Group: TypeAlias = dict[str, Any]

CURVATURE_OPTIONS = ("curvature_lr", "curvature_move", "curvature_gradient")
POINT_DTYPES = (torch.float32, torch.float64)


def check_number(
    name: str, value: Any, low: float = 0.0, high: float = math.inf, *, remedy: str
) -> None:
    """Raise unless ``value`` is a number, or a tensor of one element, with low <= value < high.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it lies outside the range or holds several elements.
    """
    if isinstance(value, Tensor):
        if value.numel() != 1:
            shape = tuple(value.shape)
            raise ValueError(f"{name} as a tensor must hold 1 element; got shape {shape}. {remedy}")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number; got {value!r}. {remedy}")
    if not low <= value < high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}); got {value}. {remedy}")


def check_flag(name: str, value: Any) -> None:
    """Raise a TypeError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; got {value!r}")


def check_curvature_options(options: Group) -> None:
    """Raise a TypeError or ValueError if an option for curvatures is invalid."""
    check_number("curvature_lr", options["curvature_lr"], remedy="The default is 1e-2.")
    check_move(options["curvature_move"])
    check_gradient(options["curvature_gradient"])


def check_parameter(entry: Any) -> None:
    """Raise a TypeError if an entry is a manifold parameter of a dtype unfit for points.

    The same for a manifold parameter of geoopt, which would be stepped as a Euclidean one.
    """
    p = tensor_of(entry)
    if is_foreign(p):
        name = f"{entry[0]!r} " if isinstance(entry, tuple) else ""
        raise TypeError(
            f"parameter {name}of shape {tuple(p.shape)} is a geoopt manifold parameter; convert "
            "it, or the module that holds it, with hypeeg.optim.from_geoopt first"
        )
    if not isinstance(p, ManifoldParameter):
        return
    chart_of(p.manifold)
    if p.dtype not in POINT_DTYPES:
        name = f"{entry[0]!r} " if isinstance(entry, tuple) else ""
        raise TypeError(
            f"manifold parameter {name}of shape {tuple(p.shape)} is {p.dtype}; points of the "
            "hyperboloid need float32 or float64 (for mixed precision keep parameters in float32 "
            "and use torch.autocast)"
        )


def is_curvature_group(group: Group) -> bool:
    """Tell whether a parameter group is one of curvatures."""
    return "curvature_move" in group


def is_foreign(p: Any) -> bool:
    """Tell whether a tensor is one of geoopt's that lie on a manifold; geoopt is not imported."""
    return any(
        kind.__module__.startswith("geoopt.") and kind.__name__ == "ManifoldTensor"
        for kind in type(p).__mro__
    )


def tensor_of(entry: Any) -> Any:
    """Return the tensor of a parameter or of a (name, parameter) pair."""
    return entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry


def curvature_of(p: ManifoldParameter) -> CurvatureParameter:
    """Return the curvature of the manifold a parameter lives on."""
    return p.manifold.curvature.log_c


def value_of(log_c: CurvatureParameter) -> Tensor:
    """Return the curvature magnitude a parameter stands for, 0-dimensional, a fresh tensor."""
    low, high = log_c.bounds
    return log_c.detach().clamp(math.log(low), math.log(high)).exp_()


def curvatures_among(entries: list[Any]) -> list[Any]:
    """Return the curvatures among parameters and those of their manifolds, each once.

    They are (name, parameter) pairs if the entries are.
    """
    found: dict[int, Any] = {}
    for entry in entries:
        if isinstance(tensor_of(entry), CurvatureParameter):
            found[id(tensor_of(entry))] = entry
    for entry in entries:
        p = tensor_of(entry)
        if isinstance(p, ManifoldParameter):
            log_c = curvature_of(p)
            if entry is p:
                found.setdefault(id(log_c), log_c)
            else:
                found.setdefault(id(log_c), (f"{entry[0]}.manifold.curvature.log_c", log_c))
    return list(found.values())


class GroupingOptimizer(Optimizer):
    """An optimiser that finds curvatures and keeps them in parameter groups of their own.

    Parameters
    ----------
    params : iterable
        Parameters, ``named_parameters()`` or groups, as for any PyTorch optimiser.
    defaults : dict
        Options of the update rule, among them ``lr`` and ``maximize``.
    curvature_defaults : dict
        Options of curvatures: ``curvature_lr``, ``curvature_move`` and ``curvature_gradient``.
    """

    def __init__(self, params: ParamsT, defaults: Group, curvature_defaults: Group) -> None:
        check_curvature_options(curvature_defaults)
        self.curvature_defaults = curvature_defaults
        # Groups of curvatures follow all groups of the caller, whose indices stay as given.
        self._pending: list[tuple[bool, Group]] | None = []
        super().__init__(params, defaults)
        pending, self._pending = self._pending, None
        for _, group in pending:
            if group["params"]:
                super().add_param_group(group)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "curvature_defaults": self.curvature_defaults}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._pending = None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, and a group for the curvatures it brings with it.

        Curvatures among the parameters are taken out of the group, and curvatures of the
        manifolds of its manifold parameters are found; those the optimiser does not know yet
        form a parameter group of their own, without weight decay. A group that holds curvatures
        alone becomes that group and keeps its ``lr``. A group may carry its own
        ``curvature_lr``, ``curvature_move`` and ``curvature_gradient`` for the curvatures it
        brings.

        Parameters
        ----------
        param_group : dict
            ``params`` and any options that differ from the defaults.

        Raises
        ------
        TypeError
            If a manifold parameter is neither float32 nor float64, or one of geoopt's.
        ValueError
            If an option or a parameter is invalid.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict; got {type(param_group).__name__}")
        if "params" not in param_group:
            raise ValueError(f"param_group needs 'params'; it holds {sorted(param_group)}")
        group = dict(param_group)
        options = {
            name: group.pop(name, self.curvature_defaults[name]) for name in CURVATURE_OPTIONS
        }
        check_curvature_options(options)
        self._check_options({**self.defaults, **group})
        given = group["params"]
        if isinstance(given, set):
            super().add_param_group(group)  # raises torch's own error
        entries = [given] if isinstance(given, Tensor) else list(given)
        kept = [e for e in entries if not isinstance(tensor_of(e), CurvatureParameter)]
        for entry in kept:
            check_parameter(entry)
        options["maximize"] = group.get("maximize", self.defaults["maximize"])
        if entries and not kept:
            options["curvature_lr"] = group.get("lr", options["curvature_lr"])
            self._add_curvatures(entries, options, explicit=True)
            return
        group["params"] = kept
        super().add_param_group(group)
        self._add_curvatures(curvatures_among(entries), options, explicit=False)

    def _check_options(self, options: Group) -> None:
        """Validate the options of a group, defaults included."""

    def _add_curvatures(
        self, entries: list[Any], options: dict[str, Any], *, explicit: bool
    ) -> None:
        """Form a group of curvatures from those no group holds yet.

        ``explicit`` says that the caller gave them a group of their own, whose options win over
        those of a group that merely brings them along.
        """
        pending = [] if self._pending is None else self._pending
        taken = {id(p) for g in self.param_groups if is_curvature_group(g) for p in g["params"]}
        for was_explicit, group in pending:
            if explicit and not was_explicit:
                claimed = {id(tensor_of(e)) for e in entries}
                group["params"] = [e for e in group["params"] if id(tensor_of(e)) not in claimed]
            taken.update(id(tensor_of(e)) for e in group["params"])
        new = [e for e in entries if id(tensor_of(e)) not in taken]
        if explicit and len(new) < len(entries):
            raise ValueError("some curvatures appear in more than one parameter group")
        if not new:
            return
        curvatures: Group = {
            "params": new,
            "lr": options["curvature_lr"],
            "weight_decay": 0.0,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "amsgrad": False,
            "maximize": options["maximize"],
            "curvature_move": options["curvature_move"],
            "curvature_gradient": options["curvature_gradient"],
        }
        if self._pending is None:
            super().add_param_group(curvatures)
            return
        for was_explicit, group in pending:
            same = all(group[k] == v for k, v in curvatures.items() if k != "params")
            if same and not was_explicit and not explicit:
                group["params"].extend(new)
                return
        self._pending.append((explicit, curvatures))
