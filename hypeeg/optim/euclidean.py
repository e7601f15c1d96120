"""The step of torch's own AdamW, taken on the state and the options of another optimiser."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


def new_step_count() -> Tensor:
    """Return a step counter as torch keeps it: on the CPU, so that reading it never waits."""
    wide = torch.get_default_dtype() == torch.float64
    return torch.tensor(0.0, dtype=torch.float64 if wide else torch.float32, device="cpu")


def adamw_step(
    state: MutableMapping[Tensor, dict[str, Any]],
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    foreach: bool | None = None,
) -> None:
    """Take one step of AdamW (of Adam, where the group has no weight decay).

    Parameters
    ----------
    state : mapping
        State of the optimiser; entries are made at the first step of a parameter.
    group : dict
        Options ``lr``, ``betas``, ``eps``, ``weight_decay`` and ``maximize``.
    params, grads : list of Tensor
        Parameters and the gradients to use for them.
    foreach : bool, optional
        Whether to use torch's multi-tensor implementation.
    """
    for p in params:
        if not state[p]:
            state[p]["step"] = new_step_count()
            state[p]["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            state[p]["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
    beta1, beta2 = group["betas"]
    adamw(
        params,
        grads,
        [state[p]["exp_avg"] for p in params],
        [state[p]["exp_avg_sq"] for p in params],
        [],
        [state[p]["step"] for p in params],
        foreach=foreach,
        has_complex=any(p.is_complex() for p in params),
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
    )
