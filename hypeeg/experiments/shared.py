"""Data of a run on their way to workers on the same machine: once each, not once a fold.

The data are pickled once.  Arrays leave the pickle and are memory-mapped by joblib, so that all
workers look at the same copy; a worker puts the rest together when its first task arrives and
keeps it.  What is mapped from a cache already is named by its file instead of being copied.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np

# What this worker has put together last: runs follow each other, they do not alternate.
_KEPT: dict[str, Any] = {}


@dataclass(frozen=True)
class Shared:
    """Data in a form that joblib hands to workers cheaply.

    Attributes
    ----------
    token : str
        Tells these data from those of any other run.
    head : ndarray of uint8
        The pickle.
    buffers : tuple of ndarray of uint8
        Memory of the arrays in it.
    """

    token: str
    head: np.ndarray
    buffers: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, value: Any, token: str) -> Shared:
        """Take data apart.

        Parameters
        ----------
        value : object
            Anything that can be pickled, functions of tests included.
        token : str
            A name of its own.
        """
        buffers: list[pickle.PickleBuffer] = []
        stream = io.BytesIO()
        _pickler(stream, buffers).dump(value)
        return cls(
            token,
            np.frombuffer(stream.getbuffer(), dtype=np.uint8),
            tuple(np.frombuffer(buffer.raw(), dtype=np.uint8) for buffer in buffers),
        )

    def get(self) -> Any:
        """Return the data; arrays are mapped and cannot be written to."""
        if self.token not in _KEPT:
            _KEPT.clear()
            _KEPT[self.token] = pickle.loads(self.head.tobytes(), buffers=self.buffers)
        return _KEPT[self.token]


def cloudpickle() -> Any:
    """Return the module that pickles functions of scripts and tests by value; joblib has it."""
    try:
        import cloudpickle as found  # type: ignore[import-untyped]
    except ImportError:  # joblib before 1.6 brings its own
        from joblib.externals import cloudpickle as found
    return found


def _pickler(stream: io.BytesIO, buffers: list[pickle.PickleBuffer]) -> Any:
    class Pickler(cloudpickle().Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            found = _mapped_from(obj) if type(obj) is np.memmap else None
            return super().reducer_override(obj) if found is None else (_map, found)

    return Pickler(stream, protocol=5, buffer_callback=buffers.append)


def _mapped_from(array: np.memmap) -> tuple[Any, ...] | None:
    """Return file, place and form of a mapped array, None if that does not describe it."""
    root: Any = array
    while isinstance(root.base, np.memmap):
        root = root.base
    if not array.flags.c_contiguous or array.filename is None or array.mode not in ("r", "c"):
        return None
    offset = (
        root.offset + array.__array_interface__["data"][0] - (root.__array_interface__["data"][0])
    )
    return str(array.filename), array.dtype, array.shape, int(offset)


def _map(filename: str, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> np.memmap:
    return np.memmap(filename, dtype=dtype, mode="r", offset=offset, shape=shape)
