"""Check of the options of a sharpness-aware curvature."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from hypeeg.optim.curvature import check_move
from hypeeg.optim.groups import check_number
from hypeeg.optim.hypergradient import Objective

Mode = Literal["direct", "neumann"]

# Beyond so many terms the series needs to be told that the Hessian is positive.
_SAFE_TERMS = 5
_NUMBERS = ("lr", "eps", "trust")
_SHARES = ("warmup", "freeze")
_COUNTS = {"every": 1, "terms": 0, "alpha_every": 1}


def check_options(**options: Any) -> None:
    """Raise a TypeError or ValueError if an option of the optimiser is invalid."""
    default = "See the documentation for its default."
    smallest = math.ulp(0.0)
    check_number("rho", options["rho"], low=smallest, remedy="The default is 0.05.")
    for name in _NUMBERS:
        check_number(name, options[name], remedy=default)
    for name in _SHARES:
        check_number(name, options[name], high=1.0, remedy=default)
    for i, beta in enumerate(options["betas"]):
        check_number(f"betas[{i}]", beta, high=1.0, remedy=default)
    for name in ("damping", "fd_step"):
        if options[name] is not None:
            low = smallest if name == "fd_step" else 0.0
            check_number(name, options[name], low=low, remedy="The default is None.")
    counts = {name: options[name] for name in _COUNTS}
    if options["total_steps"] is not None:
        counts["total_steps"] = options["total_steps"]
    for name, count in counts.items():
        least = _COUNTS.get(name, 1)
        if isinstance(count, bool) or not isinstance(count, int) or count < least:
            raise ValueError(f"{name} must be an integer of {least} or more; got {count!r}")
    for name, kind in (("objective", Objective), ("mode", Mode)):
        if options[name] not in get_args(kind):
            raise ValueError(f"{name} must be one of {get_args(kind)}; got {options[name]!r}")
    if options["alpha"] != "power":
        check_number("alpha", options["alpha"], low=smallest, remedy="Give a number or 'power'.")
    check_move(options["curvature_move"])
    if options["curvature_move"] == "none":
        raise ValueError(
            "curvature_move='none' is no move of a sharpness-aware curvature, whose derivative "
            "is one at weights that follow it; give 'exp' or 'scale'"
        )
    low, high = options["bounds"]
    if not 0 < low < high < math.inf:
        raise ValueError(f"bounds must satisfy 0 < low < high < inf; got {options['bounds']}")
    terms = options["terms"]
    if options["mode"] == "direct" and terms:
        raise ValueError(
            f"terms={terms} has no effect with mode='direct'; use mode='neumann', or 0"
        )
    if terms > _SAFE_TERMS and options["damping"] is None:
        raise ValueError(
            f"terms={terms} needs damping: beyond {_SAFE_TERMS} terms the series diverges where "
            "the Hessian has negative eigenvalues. Give damping (0 if the closure's loss has a "
            "decay that rules them out), or fewer terms"
        )
