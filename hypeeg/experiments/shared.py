"""Data of a run on their way to workers on the same machine: once each, not once a fold.

The data are pickled once, into files that all workers map into their memory: they look at the same
copy.  A worker puts them together when its first task arrives and keeps them.  What is mapped from
a cache already is named by its file instead of being copied.
"""

from __future__ import annotations

import errno
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

# What this worker has put together last: runs follow each other, they do not alternate.
_KEPT: dict[str, Any] = {}

_ALIGNMENT = 64


@dataclass(frozen=True)
class Shared:
    """Where data lie that workers of this machine map; small, it travels with every task.

    joblib maps arrays as well, but waits a second for its file at the end of a run, in vain as long
    as workers keep what they have mapped.

    Attributes
    ----------
    token : str
        Tells these data from those of any other run.
    folder : Path
        Of the files; whoever made it removes it.
    places : tuple of (int, int)
        Begin and end of each array in them.
    """

    token: str
    folder: Path
    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, value: Any, token: str, folder: Path) -> Shared:
        """Write data into files.

        Parameters
        ----------
        value : object
            Anything that can be pickled, functions of tests included.
        token : str
            A name of its own.
        folder : Path
            Exists.

        Raises
        ------
        OSError
            If there is no space.
        """
        try:
            return cls(token, folder, _write(value, folder))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise OSError(
                errno.ENOSPC,
                f"{folder}: no space for the data that workers share; free some, set TMPDIR to a "
                "folder on another disk, or use n_jobs: 1",
            ) from error

    def get(self) -> Any:
        """Return the data; arrays are mapped and cannot be written to."""
        if self.token not in _KEPT:
            _KEPT.clear()
            _KEPT[self.token] = self._load()
        return _KEPT[self.token]

    def _load(self) -> Any:
        path = self.folder / "arrays.bin"
        # There is no mapping an empty file.
        whole: Any = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else b""
        buffers = [whole[start:end] for start, end in self.places]
        return pickle.loads((self.folder / "data.pickle").read_bytes(), buffers=buffers)


def _write(value: Any, folder: Path) -> tuple[tuple[int, int], ...]:
    buffers: list[pickle.PickleBuffer] = []
    with (folder / "data.pickle").open("wb") as file:
        _pickler(file, buffers).dump(value)
    places: list[tuple[int, int]] = []
    with (folder / "arrays.bin").open("wb") as file:
        for buffer in buffers:
            memory = buffer.raw()
            start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
            file.seek(start)
            file.write(memory)
            places.append((start, start + memory.nbytes))
    return tuple(places)


def cloudpickle() -> Any:
    """Return the module that pickles functions of scripts and tests by value; joblib has it."""
    try:
        import cloudpickle as found  # type: ignore[import-untyped]
    except ImportError:  # joblib before 1.6 brings its own
        from joblib.externals import cloudpickle as found
    return found


def _pickler(stream: IO[bytes], buffers: list[pickle.PickleBuffer]) -> Any:
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
