"""The optimiser of the geometry lab, in a process of its own that is started when it is needed."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import streamlit as st

WORKER = Path(__file__).with_name("optimiser_worker.py")
ANSWER_SECONDS = 180.0
"""The first answer waits for torch; a busy machine takes its time for that."""


class WorkerError(RuntimeError):
    """The process gave no answer; the message says why."""


class Worker:
    """A process that answers one line of JSON to each line of JSON.

    It ends when this object's process does, however that ends: its input is a pipe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request.

        Raises
        ------
        WorkerError
            If the process ends, takes too long, or refuses the request.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                line = self._line(process)
            except OSError as error:
                self.close()
                raise WorkerError(f"the optimiser's process ended ({error}); try again") from error
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(str(reply["error"]))
        return reply

    @property
    def pid(self) -> int | None:
        """Number of the process, None before it is needed."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        return self._process

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """Read one line; the process writes nothing else, and no second one before it is asked."""
        assert process.stdout is not None
        stream = process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([stream], [], [], ANSWER_SECONDS)
            if not ready:
                self.close()
                raise WorkerError(f"the optimiser gave no answer within {ANSWER_SECONDS:g} s")
            piece = os.read(stream, 1 << 16)
            if not piece:
                code = process.wait()
                self.close()
                raise WorkerError(f"the optimiser's process ended with {code}; is torch installed?")
            line += piece
        return line


@st.cache_resource(show_spinner=False)
def worker() -> Worker:
    """Return the one process of this app."""
    return Worker()


@st.cache_data(show_spinner=False, max_entries=64)
def optimise(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the optimiser does; see `optimiser_worker.answer`.

    Raises
    ------
    WorkerError
        If it gives no answer.
    """
    return worker().ask(request)
