"""What groups of commands share: exit codes, errors as one message, runs that end tidily.

Heavy libraries are imported inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from hypeeg.experiments.base_spec import BaseRunSpec
    from hypeeg.experiments.runner import RunResult
    from hypeeg.experiments.sections import BackendSpec

BAD_INPUT = 2
FAILED = 1
CANCELLED = 130
EXIT_CODES = {"done": 0, "failed": FAILED, "cancelled": CANCELLED}


@contextmanager
def plain_errors(verbose: bool = False) -> Iterator[None]:
    """Turn exceptions into one message on standard error and an exit code."""
    from hypeeg.dashboard import DashboardError
    from hypeeg.eeg.errors import DataError
    from hypeeg.experiments.spec_errors import SpecError
    from hypeeg.experiments.store import RecordError

    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except (SpecError, DataError, DashboardError, RecordError) as error:
        _fail(error, BAD_INPUT, verbose)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(CANCELLED) from None
    # The last resort of a program: whatever went wrong, say so in one line.
    except Exception as error:  # noqa: BLE001
        _fail(error, FAILED, verbose, kind=f"{type(error).__name__}: ")


def _fail(error: Exception, code: int, verbose: bool, kind: str = "") -> NoReturn:
    if verbose:
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    typer.echo(f"error: {kind}{error}", err=True)
    for note in getattr(error, "__notes__", []):
        typer.echo(note, err=True)
    raise typer.Exit(code) from error


def carry_out(action: Callable[[], RunResult], spec: BaseRunSpec) -> NoReturn:
    """Do a run, show what came of it, and exit with its code.

    Parameters
    ----------
    action : callable
        Does the run.
    spec : BaseRunSpec
        What is run.
    """
    from rich.console import Console

    from hypeeg.experiments.summary import print_summary

    with tidy_end():
        result = action()
    print_summary(result, spec, Console(soft_wrap=False))
    if result.n_warnings:
        count = f"{result.n_warnings} warning{'s' if result.n_warnings > 1 else ''}"
        typer.echo(f"{count} in {result.folder / 'log.txt'}", err=True)
    typer.echo(f"Run folder: {result.folder}")
    raise typer.Exit(EXIT_CODES[result.state])


@contextmanager
def tidy_end() -> Iterator[None]:
    """Give whoever ends the process politely the same tidy record as somebody at the keyboard."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def backend_changes(backend: str | None, scheduler: str | None) -> list[str]:
    """Return what ``--backend`` and ``--scheduler`` change in a run file.

    Parameters
    ----------
    backend : str or None
        Name of a backend.
    scheduler : str or None
        Address of a Dask scheduler; a backend that is not named is dask then.
    """
    if backend is None and scheduler is None:
        return []
    import json

    value = {"name": "dask" if backend is None else backend, "scheduler": scheduler}
    return [f"backend={json.dumps(value)}"]


def chosen_backend(backend: str | None, scheduler: str | None) -> BackendSpec | None:
    """Return the backend that ``--backend`` and ``--scheduler`` name, None without them.

    Parameters
    ----------
    backend : str or None
        Name of a backend.
    scheduler : str or None
        Address of a Dask scheduler; a backend that is not named is dask then.

    Raises
    ------
    SpecError
        If they name none.
    """
    if backend is None and scheduler is None:
        return None
    from pydantic import ValidationError

    from hypeeg.experiments.sections import BackendSpec
    from hypeeg.experiments.spec_errors import SpecError, problems_of

    data = {"name": "dask" if backend is None else backend, "scheduler": scheduler}
    try:
        return BackendSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(problems_of(error, BackendSpec, data), "--backend") from error


def _interrupt(_signal: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt
