"""The steps of torch's own optimisers, taken on the state and the options of another."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

State = MutableMapping[Tensor, dict[str, Any]]


def new_step_count() -> Tensor:
    """Return a step counter as torch keeps it: on the CPU, so that reading it never waits."""
    wide = torch.get_default_dtype() == torch.float64
    return torch.tensor(0.0, dtype=torch.float64 if wide else torch.float32, device="cpu")


def adam_step(
    state: State,
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    foreach: bool | None = None,
    *,
    decoupled: bool,
) -> None:
    """Take one step of Adam or AdamW.

    Parameters
    ----------
    state : mapping
        State of the optimiser; entries are made at the first step of a parameter.
    group : dict
        Options ``lr``, ``betas``, ``eps``, ``weight_decay``, ``maximize`` and, if not False,
        ``amsgrad``.
    params, grads : list of Tensor
        Parameters and the gradients to use for them.
    foreach : bool, optional
        Whether to use torch's multi-tensor implementation.
    decoupled : bool
        True for the weight decay of AdamW, False for that of Adam.
    """
    amsgrad = bool(group.get("amsgrad"))
    names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * amsgrad
    for p in params:
        if not state[p]:
            state[p]["step"] = new_step_count()
        for name in names:
            if name not in state[p]:
                state[p][name] = torch.zeros_like(p, memory_format=torch.preserve_format)
    beta1, beta2 = group["betas"]
    adam(
        params,
        grads,
        [state[p]["exp_avg"] for p in params],
        [state[p]["exp_avg_sq"] for p in params],
        [state[p]["max_exp_avg_sq"] for p in params] if amsgrad else [],
        [state[p]["step"] for p in params],
        foreach=foreach,
        has_complex=any(p.is_complex() for p in params),
        decoupled_weight_decay=decoupled,
        amsgrad=amsgrad,
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
    )


def adamw_step(
    state: State,
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    foreach: bool | None = None,
) -> None:
    """Take one step of AdamW (of Adam, where the group has no weight decay)."""
    adam_step(state, group, params, grads, foreach, decoupled=True)


def sgd_step(
    state: State, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
) -> None:
    """Take one step of SGD; gradients may be sparse where torch's own SGD takes them.

    Parameters
    ----------
    state : mapping
        State of the optimiser; ``momentum_buffer`` is kept where there is momentum.
    group : dict
        Options ``lr``, ``momentum``, ``dampening``, ``nesterov``, ``weight_decay``, ``maximize``
        and ``foreach``.
    params, grads : list of Tensor
        Parameters and the gradients to use for them.
    """
    momentum = group["momentum"] != 0
    buffers = [state[p].get("momentum_buffer") if momentum else None for p in params]
    sgd(
        params,
        grads,
        buffers,
        has_sparse_grad=any(g.is_sparse for g in grads),
        foreach=group["foreach"],
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
    )
    if momentum:
        for p, buffer in zip(params, buffers, strict=True):
            state[p]["momentum_buffer"] = buffer
