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
    from hypeeg.experiments.runner import RunResult
    from hypeeg.experiments.spec import RunSpec

BAD_INPUT = 2
FAILED = 1
CANCELLED = 130


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


def carry_out(action: Callable[[], RunResult], spec: RunSpec) -> NoReturn:
    """Do a run, show what came of it, and exit with its code.

    Parameters
    ----------
    action : callable
        Does the run.
    spec : RunSpec
        What is run.
    """
    from rich.console import Console

    from hypeeg.experiments.summary import print_summary

    # Whoever ends the process politely gets the same tidy record as somebody at the keyboard.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = action()
    finally:
        signal.signal(signal.SIGTERM, before)
    print_summary(result, spec, Console(soft_wrap=False))
    if result.n_warnings:
        count = f"{result.n_warnings} warning{'s' if result.n_warnings > 1 else ''}"
        typer.echo(f"{count} in {result.folder / 'log.txt'}", err=True)
    typer.echo(f"Run folder: {result.folder}")
    codes = {"done": 0, "failed": FAILED, "cancelled": CANCELLED}
    raise typer.Exit(codes[result.state])


def _interrupt(_signal: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt
