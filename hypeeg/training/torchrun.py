"""What ``torchrun`` has told this process about itself; nothing is imported for it."""

from __future__ import annotations

import os
from dataclasses import dataclass

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """One of the processes that train a network together.

    Attributes
    ----------
    rank : int
        Number among all of them, from 0.
    size : int
        How many there are.
    local_rank : int
        Number among those on this computer: that of its GPU.
    """

    rank: int
    size: int
    local_rank: int


def torchrun_place() -> Place | None:
    """Return this process's place among those that ``torchrun`` started, None outside of it.

    Raises
    ------
    ValueError
        If the environment says something else than numbers.
    """
    if not all(os.environ.get(name) for name in _VARIABLES):
        return None
    values = {name: os.environ[name] for name in _VARIABLES[:3]}
    try:
        rank, size, local_rank = map(int, values.values())
    except ValueError as error:
        raise ValueError(
            f"the environment holds {values}, which torchrun would set to numbers; unset "
            f"{', '.join(_VARIABLES[:3])} to train in one process"
        ) from error
    return Place(rank, size, local_rank) if size > 1 else None
