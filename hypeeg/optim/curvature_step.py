"""The step that curvatures take after all points, and how points follow them."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypeeg.geometry import CurvatureParameter, ManifoldParameter
from hypeeg.optim.curvature import CurvatureMove, chart_of, move_points_
from hypeeg.optim.euclidean import adamw_step
from hypeeg.optim.groups import Group, curvature_of, is_curvature_group, value_of
from hypeeg.optim.tables import RowBlock, sort_into_tables

logger = logging.getLogger(__name__)

# Rows of a table that a processor moves at a time: pieces of large tables stay in its cache from
# one pass to the next.
_CACHED_ROWS = 2**14


class Change(NamedTuple):
    """Curvature magnitudes before and after a step, and how points follow."""

    old: Tensor
    new: Tensor
    move: CurvatureMove


# Changes of curvatures by the id of the curvature.
Changes: TypeAlias = dict[int, Change]


def curvature_groups(groups: Iterable[Group]) -> dict[int, Group]:
    """Return the parameter group of every curvature by its ``id``."""
    return {id(log_c): g for g in groups if is_curvature_group(g) for log_c in g["params"]}


def step_curvatures(
    optimizer: Optimizer, terms: dict[int, Tensor], values: dict[int, Tensor]
) -> Changes:
    """Step every curvature of an optimiser that has a gradient.

    Parameters
    ----------
    optimizer : Optimizer
        Whose groups of curvatures step.
    terms : dict of int to Tensor
        What to add to the derivatives, by the ``id`` of the curvature.
    values : dict of int to Tensor
        The curvatures themselves as far as they were needed before.

    Returns
    -------
    dict of int to Change
        Without curvatures that stayed as they were.
    """
    changes: Changes = {}
    for group in filter(is_curvature_group, optimizer.param_groups):
        active: list[CurvatureParameter] = []
        grads: list[Tensor] = []
        for log_c in group["params"]:
            parts = [t for t in (log_c.grad, terms.get(id(log_c))) if t is not None]
            if log_c.requires_grad and parts:
                active.append(log_c)
                grads.append(parts[0] if len(parts) == 1 else parts[0] + parts[1])
        if not active:
            continue
        before = [values[id(k)] if id(k) in values else value_of(k) for k in active]
        adamw_step(optimizer.state, group, list(active), grads, foreach=False)
        for log_c, c in zip(active, before, strict=True):
            new = value_of(log_c.project_())
            # at a bound points need not move; asking an accelerator would cost more than that
            if log_c.is_cpu and torch.equal(c, new):
                continue
            _note_stepper(log_c, optimizer)
            changes[id(log_c)] = Change(c, new, group["curvature_move"])
    return changes


def carry(
    params: Iterable[ManifoldParameter], changes: Changes, run: Callable[..., Any], *, whole: bool
) -> None:
    """Let parameters follow their curvatures.

    Parameters
    ----------
    params : iterable of ManifoldParameter
        Parameters, also those whose curvature did not change.
    changes : dict of int to Change
        From :func:`step_curvatures`.
    run : callable
        Calls a function on tensors, compiled or not.
    whole : bool
        Whether to move tables in one piece whatever their size.
    """
    if not changes:
        return
    for bucket in sort_into_tables(p for p in params if id(curvature_of(p)) in changes):
        change = changes[id(curvature_of(bucket[0]))]
        points = RowBlock(bucket)
        chart = chart_of(bucket[0].manifold)
        rows = points.rows
        c, c_new = (t.to(rows.device) for t in (change.old, change.new))
        pieces = torch.split(rows, _CACHED_ROWS) if rows.is_cpu and not whole else (rows,)
        for piece in pieces:
            run(move_points_, piece, c, c_new, change.move, chart)
        points.write_back()


class _Steppers:
    """Which optimisers stepped a curvature, without keeping them alive."""

    def __init__(self) -> None:
        self.latest: weakref.ref[Optimizer] | None = None
        self.all: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self.warned = False


def _note_stepper(log_c: CurvatureParameter, optimizer: Optimizer) -> None:
    """Warn when two optimisers take turns at stepping one curvature.

    A second one alone is no sign of it: training may go on with a new optimiser while the old one
    is still referred to somewhere.
    """
    known: _Steppers | None = log_c.__dict__.get("_steppers")
    if known is None:
        known = log_c.__dict__["_steppers"] = _Steppers()
    if known.latest is not None and known.latest() is optimizer:
        return
    if optimizer in known.all and not known.warned:
        known.warned = True
        logger.warning(
            "two optimizers take turns at stepping one curvature (log_c = %g): each moves only the "
            "points it holds, so those of the other keep their coordinates while their space "
            "changes. Give all parameters of a curvature to one optimizer, or hold the curvature "
            "in the other with curvature_lr=0",
            float(log_c),
        )
    known.latest = weakref.ref(optimizer)
    known.all.add(optimizer)
