"""What every Riemannian optimiser of this package shares; the update rules are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast, overload

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from hypeeg.geometry import Manifold, ManifoldParameter
from hypeeg.optim.curvature import CurvatureGradient, CurvatureMove, chart_of, gradient_term
from hypeeg.optim.curvature_step import carry, curvature_groups, step_curvatures
from hypeeg.optim.euclidean import new_step_count
from hypeeg.optim.frame import reach
from hypeeg.optim.groups import (
    POINT_DTYPES,
    Group,
    GroupingOptimizer,
    check_parameter,
    curvature_of,
    is_curvature_group,
    value_of,
)
from hypeeg.optim.rules import Outcome, compiled, finish_
from hypeeg.optim.sparse import is_row_sparse
from hypeeg.optim.tables import Scratch, Table, build_table, sort_into_tables


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
    which state that table has (:meth:`_state_names`).

    Parameters
    ----------
    params : iterable
        Parameters, ``named_parameters()`` or groups, as for any PyTorch optimiser.
    defaults : dict
        Options of the update rule, among them ``lr`` and ``maximize``.
    curvature_lr, curvature_move, curvature_gradient, compile
        See :class:`hypeeg.optim.RiemannianAdamW`.
    """

    # Names of the state that are tangent vectors in the frame of the origin, for ``moment``.
    _frame_state: tuple[str, ...] = ()
    # Whether Euclidean parameters may have sparse gradients.
    _sparse_euclidean = False

    def __init__(
        self,
        params: ParamsT,
        defaults: dict[str, Any],
        *,
        curvature_lr: float | Tensor,
        curvature_move: CurvatureMove,
        curvature_gradient: CurvatureGradient,
        compile: bool,
    ) -> None:
        self.compile = compile
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

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "compile": self.compile}

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

    def _state_names(self, group: Group) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the state of a manifold parameter by its two kinds.

        Names of tangent vectors in the frame of the origin, of the shape of the parameter, and
        names of numbers, one per point.
        """
        raise NotImplementedError

    def _step_table(self, table: Table, c: Tensor) -> Outcome:
        """Update the state of a table and its points, up to a factor, under the old curvature."""
        raise NotImplementedError

    def _run(self, function: Callable[..., Any], *args: Any, **flags: Any) -> Any:
        """Call a function of :mod:`hypeeg.optim.rules`, compiled if the optimiser is.

        Numbers in a tuple of rates become tensors then: as numbers they would be compiled in.
        """
        if not self.compile:
            return function(*args, **flags)

        def tensors(rates: Any) -> Any:
            if not isinstance(rates, tuple):
                return rates
            return type(rates)(*(torch.as_tensor(r, dtype=torch.float64) for r in rates))

        return compiled(function)(*map(tensors, args), **flags)

    # ----------------------------------------------------------------- step

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    # The step itself sorts parameters, which is no work for a compiler; what there is to compile
    # has an option of its own.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
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
            If a sparse gradient is not one of whole rows, or belongs to a Euclidean parameter
            whose rule knows none, or the manifold of a parameter was exchanged for one the
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
        changes = step_curvatures(self, terms, values)
        for table, outcome in stepped:
            if not table.is_whole:  # steps rows or another chart; follows like idle ones
                idle.extend(table.params)
                continue
            change = changes.get(id(table.log_c))
            new, move = (None, "exp") if change is None else (change.new, change.move)
            c = outcome.radial.c
            new = None if new is None else new.to(c)
            self._run(finish_, table.points.rows, outcome.factor, outcome.cosh_1, c, new, move)
            table.write_back()
        carry(idle, changes, self._run, whole=self.compile)
        return loss

    def _collect(self) -> list[_Work]:
        """Sort the parameters of every group by what is to be done, and check them."""
        curvatures = curvature_groups(self.param_groups)
        known: set[int] = set()  # manifolds seen, by id
        collected = []
        for group in self.param_groups:
            if is_curvature_group(group):
                continue
            work = _Work(group, [], [], [])
            for p in group["params"]:
                on_manifold, grad = isinstance(p, ManifoldParameter), p.grad
                if grad is not None and grad.is_sparse:
                    self._check_sparse(p, on_manifold)
                if not on_manifold:
                    if grad is not None:
                        work.euclidean.append(p)
                    continue
                if p.dtype not in POINT_DTYPES:
                    check_parameter((self._name_of(p), p))
                if id(p.manifold) not in known:
                    if id(curvature_of(p)) not in curvatures:
                        raise RuntimeError(
                            f"the curvature of parameter {self._name_of(p)} is unknown to this "
                            "optimizer: its manifold was exchanged after the optimizer was built; "
                            "build the optimizer anew"
                        )
                    known.add(id(p.manifold))
                (work.idle if grad is None else work.active).append(p)
            collected.append(work)
        return collected

    def _check_sparse(self, p: Tensor, on_manifold: bool) -> None:
        if not on_manifold and not self._sparse_euclidean:
            raise RuntimeError(
                f"parameter {self._name_of(p)} has a sparse gradient, which "
                f"{type(self).__name__} does not support for a Euclidean parameter; make the "
                "gradient dense (for an embedding: sparse=False)"
            )
        if on_manifold and not is_row_sparse(cast(Tensor, p.grad)):
            raise RuntimeError(
                f"the sparse gradient of parameter {self._name_of(p)} does not name whole rows; "
                "give one with sparse_dim 1, as an embedding with sparse=True does, or a dense one"
            )

    def _tables(self, group: Group, params: list[ManifoldParameter]) -> list[Table]:
        """Count the step of every parameter and join parameters with gradients into tables."""
        if not params:
            return []
        frame_names, row_names = names = self._state_names(group)
        needed = {"step", *frame_names, *row_names}
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not needed <= state.keys():
                self._init_state(p, *names)
        counters = [state["step"] for state in states]
        if len(counters) == 1:
            steps = [counters[0].add_(1).item()]
        else:
            torch._foreach_add_(counters, torch.tensor(1.0), alpha=1.0)
            steps = torch.stack(counters).tolist()
        whole = group.get("foreach") is not False
        return [
            build_table(
                bucket,
                [self.state[p] for p in bucket],
                (*frame_names, *row_names),
                self.state[bucket[0]]["step"].item(),
                group,
                None if self.compile else self._scratch,
            )
            for bucket in sort_into_tables(params, steps, batch=whole)
        ]

    def _init_state(
        self, p: ManifoldParameter, frame_names: tuple[str, ...], row_names: tuple[str, ...]
    ) -> None:
        state = self.state[p]
        if not state:
            state["step"] = new_step_count()
        for name in frame_names:
            if name not in state:
                state[name] = torch.zeros_like(p.detach(), memory_format=torch.preserve_format)
        for name in row_names:
            if name not in state:
                state[name] = torch.zeros_like(p.detach()[..., :1])

    def _step_tables(
        self, tables: list[Table]
    ) -> tuple[list[tuple[Table, Outcome]], dict[int, Tensor], dict[int, Tensor]]:
        """Step all tables under the old curvatures.

        Returns the tables with what remains to be done to them (nothing, unless
        :attr:`Table.is_whole`) and, by the ``id`` of a curvature, the term that the consistent
        gradient adds to its derivative and its value.
        """
        groups = curvature_groups(self.param_groups)
        values: dict[int, Tensor] = {}
        terms: dict[int, Tensor] = {}
        stepped = []
        for table in tables:
            key = id(table.log_c)
            if key not in values:
                values[key] = value_of(table.log_c)
            outcome = self._step_table(table, values[key].to(table.gradient.device))
            options = groups[key]
            if table.log_c.requires_grad and options["curvature_gradient"] == "consistent":
                products = outcome.x_dot_g if table.chart_dot_g is None else table.chart_dot_g
                move = options["curvature_move"]
                term = gradient_term(outcome.radial, products, move, table.chart)
                # the gradient of the table is that of -L where its group maximises
                term = (-term if table.group["maximize"] else term).to(table.log_c)
                terms[key] = terms[key] + term if key in terms else term
            if not table.is_whole:
                x = table.points.rows
                limit = reach(outcome.radial.c, outcome.cosh_1, x.dtype).clamp_max_(1.0)
                x.mul_(limit.mul_(outcome.factor).to(x.dtype))
                table.write_back()
            stepped.append((table, outcome))
        return stepped, terms, values

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
            Tangent vectors in the coordinates of ``p``; zero before the first step.

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
        moment = self.state[p].get(name)
        if moment is None:
            return torch.zeros_like(p.detach())
        # at the origin a point of the ball is half its space part
        at_origin = moment / 2 if chart_of(p.manifold) == "ball" else moment
        return cast(Manifold, p.manifold).transp0(p.detach(), at_origin)

    def _name_of(self, p: Tensor) -> str:
        for i, group in enumerate(self.param_groups):
            for j, q in enumerate(group["params"]):
                if q is p:
                    names = group.get("param_names")
                    place = f"{j} of group {i}" if names is None else repr(names[j])
                    return f"{place} (shape {tuple(p.shape)})"
        return f"of shape {tuple(p.shape)}"
