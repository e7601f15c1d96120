"""What every Riemannian optimiser of this package shares; the update rules are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast, overload

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from hypeeg.geometry import CurvatureParameter, ManifoldParameter, lorentz
from hypeeg.optim.curvature import (
    CurvatureGradient,
    CurvatureMove,
    gradient_term,
    move_factor,
    move_points_,
)
from hypeeg.optim.euclidean import adamw_step, new_step_count
from hypeeg.optim.frame import Radial, reach, row_dot
from hypeeg.optim.groups import (
    POINT_DTYPES,
    Group,
    GroupingOptimizer,
    check_parameter,
    curvature_of,
    is_curvature_group,
    value_of,
)
from hypeeg.optim.tables import RowBlock, Scratch, Table, sort_into_tables


class _Change(NamedTuple):
    """Curvature magnitudes before and after a step, and how points follow."""

    old: Tensor
    new: Tensor
    move: CurvatureMove


class _Stepped(NamedTuple):
    """A table whose points are still to be multiplied by ``factor``; see ``_step_table``."""

    table: Table
    factor: Tensor
    c: Tensor
    cosh_1: Tensor


class _Work(NamedTuple):
    """The parameters of a group by what a step does with them."""

    group: Group
    euclidean: list[Tensor]
    active: list[ManifoldParameter]
    idle: list[ManifoldParameter]


class RiemannianOptimizer(GroupingOptimizer):
    """Base of the optimisers: tables, the order of a step, the curvature step and the move.

    An update rule derives from it and says how Euclidean parameters move
    (:meth:`_step_euclidean`), how a table of manifold parameters moves (:meth:`_step_table`) and
    which state that table has (:attr:`_frame_state`, :attr:`_row_state`).

    Parameters
    ----------
    params : iterable
        Parameters, ``named_parameters()`` or groups, as for any PyTorch optimiser.
    defaults : dict
        Options of the update rule, among them ``lr`` and ``maximize``.
    curvature_lr, curvature_move, curvature_gradient
        See :class:`hypeeg.optim.RiemannianAdamW`.
    """

    # State of a manifold parameter: tangent vectors in the frame of the origin (shape of the
    # parameter), and one number per row.
    _frame_state: tuple[str, ...] = ()
    _row_state: tuple[str, ...] = ()

    def __init__(
        self,
        params: ParamsT,
        defaults: dict[str, Any],
        *,
        curvature_lr: float | Tensor,
        curvature_move: CurvatureMove,
        curvature_gradient: CurvatureGradient,
    ) -> None:
        self._scratch = Scratch()
        super().__init__(
            params,
            defaults,
            {
                "curvature_lr": curvature_lr,
                "curvature_move": curvature_move,
                "curvature_gradient": curvature_gradient,
            },
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._scratch = Scratch()
        for values in self.state.values():
            # A checkpoint loaded onto a device brings its counters along; reading them must not
            # wait for that device.
            if isinstance(values.get("step"), Tensor):
                values["step"] = values["step"].cpu()

    # ----------------------------------------------------------------- update rule

    def _step_euclidean(self, group: Group, params: list[Tensor]) -> None:
        """Update Euclidean parameters, all of which have a gradient."""
        raise NotImplementedError

    def _step_table(self, table: Table, radial: Radial, x_dot_g: Tensor) -> tuple[Tensor, Tensor]:
        """Update the points and the state of a table, in place, under the old curvature.

        ``radial`` are the row scalars of the points, ``x_dot_g`` their inner products with the
        gradient. Returns a factor ``(rows, 1)`` by which the points are still to be multiplied, and
        ``cosh_1`` of the points there (see :class:`~hypeeg.optim.frame.Radial`).
        """
        raise NotImplementedError

    # ----------------------------------------------------------------- step

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step: every parameter, then every curvature, then the points follow it.

        Parameters
        ----------
        closure : callable, optional
            Clears gradients, evaluates the loss, calls ``backward`` and returns the loss.

        Returns
        -------
        float or Tensor or None
            What the closure returned.

        Raises
        ------
        RuntimeError
            If a gradient is sparse, or the manifold of a parameter was exchanged for one the
            optimiser does not know. Nothing has been changed then.
        TypeError
            If a manifold parameter has become neither float32 nor float64.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()

        tables: list[Table] = []
        idle: list[ManifoldParameter] = []
        for group, euclidean, active, waiting in self._collect():
            if euclidean:
                self._step_euclidean(group, euclidean)
            tables.extend(self._tables(group, active))
            idle.extend(waiting)

        stepped, terms, values = self._step_tables(tables)
        changes = self._step_curvatures(terms, values)
        for table, factor, c, cosh_1 in stepped:
            x = table.points.rows
            limit = reach(c, cosh_1, x.dtype)
            change = changes.get(id(table.log_c))
            if change is not None:
                moved = move_factor(Radial.from_cosh_1(c, cosh_1), change.new, change.move)
                limit = torch.minimum(limit, moved)
            else:
                limit.clamp_max_(1.0)
            x.mul_(factor.mul_(limit).to(x.dtype))
            table.write_back()
        for params in sort_into_tables(p for p in idle if id(curvature_of(p)) in changes):
            change = changes[id(curvature_of(params[0]))]
            points = RowBlock(params)
            move_points_(points.rows, change.old, change.new, change.move)
            points.write_back()
        return loss

    def _collect(self) -> list[_Work]:
        """Sort the parameters of every group by what is to be done, and check them."""
        curvatures = self._curvature_groups()
        collected = []
        for group in self.param_groups:
            if is_curvature_group(group):
                continue
            work = _Work(group, [], [], [])
            for p in group["params"]:
                if p.grad is not None and p.grad.is_sparse:
                    raise RuntimeError(
                        f"parameter {self._name_of(p)} has a sparse gradient, which "
                        f"{type(self).__name__} does not support; make the gradient dense "
                        "(for an embedding: sparse=False)"
                    )
                if not isinstance(p, ManifoldParameter):
                    if p.grad is not None:
                        work.euclidean.append(p)
                    continue
                if p.dtype not in POINT_DTYPES:
                    check_parameter((self._name_of(p), p))
                if id(curvature_of(p)) not in curvatures:
                    raise RuntimeError(
                        f"the curvature of parameter {self._name_of(p)} is unknown to this "
                        "optimizer: its manifold was exchanged after the optimizer was built; "
                        "build the optimizer anew"
                    )
                (work.idle if p.grad is None else work.active).append(p)
            collected.append(work)
        return collected

    def _curvature_groups(self) -> dict[int, Group]:
        """Return the group of every curvature by its ``id``."""
        groups = filter(is_curvature_group, self.param_groups)
        return {id(log_c): group for group in groups for log_c in group["params"]}

    def _tables(self, group: Group, params: list[ManifoldParameter]) -> list[Table]:
        """Count the step of every parameter and join parameters with gradients into tables."""
        if not params:
            return []
        for p in params:
            if not self.state[p]:
                self._init_state(p)
        counters = [self.state[p]["step"] for p in params]
        torch._foreach_add_(counters, torch.tensor(1.0), alpha=1.0)
        steps = [counter.item() for counter in counters]
        tables = []
        for bucket in sort_into_tables(params, steps, batch=group.get("foreach") is not False):
            states = [self.state[p] for p in bucket]
            points = RowBlock(bucket)
            gradient = RowBlock([cast(Tensor, p.grad) for p in bucket]).rows
            table = Table(
                log_c=curvature_of(bucket[0]),
                group=group,
                points=points,
                gradient=-gradient if group["maximize"] else gradient,
                step=states[0]["step"].item(),
                state={
                    name: RowBlock([s[name] for s in states])
                    for name in (*self._frame_state, *self._row_state)
                },
                scratch=self._scratch.like(points.rows),
            )
            tables.append(table)
        return tables

    def _init_state(self, p: ManifoldParameter) -> None:
        state = self.state[p]
        state["step"] = new_step_count()
        for name in self._frame_state:
            state[name] = torch.zeros_like(p.detach(), memory_format=torch.preserve_format)
        for name in self._row_state:
            state[name] = torch.zeros_like(p.detach()[..., :1])

    def _step_tables(
        self, tables: list[Table]
    ) -> tuple[list[_Stepped], dict[int, Tensor], dict[int, Tensor]]:
        """Step all tables under the old curvatures.

        Returns the tables with what remains to be done to them, and, by the ``id`` of a curvature,
        the term that the consistent gradient adds to its derivative and its value.
        """
        groups = self._curvature_groups()
        values: dict[int, Tensor] = {}
        terms: dict[int, Tensor] = {}
        stepped = []
        for table in tables:
            key = id(table.log_c)
            if key not in values:
                values[key] = value_of(table.log_c)
            radial = Radial.of(table.points.rows, values[key])
            x_dot_g = row_dot(table.points.rows, table.gradient, table.scratch)
            options = groups[key]
            if table.log_c.requires_grad and options["curvature_gradient"] == "consistent":
                term = gradient_term(radial, x_dot_g, options["curvature_move"])
                # the gradient of the table is that of -L where its group maximises
                term = (-term if table.group["maximize"] else term).to(table.log_c)
                terms[key] = terms[key] + term if key in terms else term
            factor, cosh_1 = self._step_table(table, radial, x_dot_g)
            stepped.append(_Stepped(table, factor, radial.c, cosh_1))
        return stepped, terms, values

    def _step_curvatures(
        self, terms: dict[int, Tensor], values: dict[int, Tensor]
    ) -> dict[int, _Change]:
        """Step every curvature that has a gradient, to which ``terms`` are added.

        ``values`` are the curvatures as far as they were needed before.
        """
        changes: dict[int, _Change] = {}
        for group in filter(is_curvature_group, self.param_groups):
            active: list[CurvatureParameter] = []
            grads: list[Tensor] = []
            for log_c in group["params"]:
                parts = [t for t in (log_c.grad, terms.get(id(log_c))) if t is not None]
                if log_c.requires_grad and parts:
                    active.append(log_c)
                    grads.append(parts[0] if len(parts) == 1 else parts[0] + parts[1])
            if not active:
                continue
            before = [
                values[id(log_c)] if id(log_c) in values else value_of(log_c) for log_c in active
            ]
            adamw_step(self.state, group, list(active), grads, foreach=False)
            for log_c, c in zip(active, before, strict=True):
                change = _Change(c, value_of(log_c.project_()), group["curvature_move"])
                changes[id(log_c)] = change
        return changes

    # ----------------------------------------------------------------- inspection

    @torch.no_grad()
    def moment(self, p: ManifoldParameter, name: str | None = None) -> Tensor:
        """Return a moment of a manifold parameter as tangent vectors at its points.

        The state keeps moments transported to the origin; this is their transport back.

        Parameters
        ----------
        p : ManifoldParameter, shape (..., n)
            A parameter of this optimiser.
        name : str, optional
            Which moment, by default the first that the update rule keeps (``"exp_avg"``).

        Returns
        -------
        Tensor, shape (..., n)
            Space parts of the tangent vectors; zero before the first step.

        Raises
        ------
        TypeError
            If ``p`` is no manifold parameter.
        ValueError
            If the optimiser does not hold ``p`` or keeps no moment of that name.
        """
        if not isinstance(p, ManifoldParameter):
            raise TypeError(
                f"p must be a ManifoldParameter; got {type(p).__name__}. The moment of a "
                "Euclidean parameter is optimizer.state[p]['exp_avg']"
            )
        if not any(p is q for group in self.param_groups for q in group["params"]):
            raise ValueError("p is not among the parameters of this optimizer")
        name = self._frame_state[0] if name is None else name
        if name not in self._frame_state:
            raise ValueError(f"name must be one of {self._frame_state}; got {name!r}")
        if p not in self.state:
            return torch.zeros_like(p.detach())
        c = value_of(curvature_of(p))
        return lorentz.transp0(p.detach(), self.state[p][name], c.to(p.device))

    def _name_of(self, p: Tensor) -> str:
        for i, group in enumerate(self.param_groups):
            for j, q in enumerate(group["params"]):
                if q is p:
                    names = group.get("param_names")
                    place = f"{j} of group {i}" if names is None else repr(names[j])
                    return f"{place} (shape {tuple(p.shape)})"
        return f"of shape {tuple(p.shape)}"
