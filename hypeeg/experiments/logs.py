"""Where messages go during a run: all into its log file, what a person must see on screen."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tqdm

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


# Warnings that libraries address to the developers of other libraries.
_FOR_DEVELOPERS = ("DeprecationWarning:", "FutureWarning:")


class WarningCount(logging.Handler):
    """Counts warnings that concern a user, so that the end of a run can point at the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        message = record.getMessage()
        self.count += not any(kind in message for kind in _FOR_DEVELOPERS)


class ScreenHandler(logging.Handler):
    """Writes to standard error without tearing a progress bar apart.

    hypeeg's own warnings are shown, and errors of every library; other libraries' warnings are in
    the log file.

    Parameters
    ----------
    verbose : bool
        Also show hypeeg's information and all warnings.
    """

    def __init__(self, verbose: bool = False) -> None:
        super().__init__(logging.DEBUG)
        self.verbose = verbose

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a person should see the message."""
        own = record.name.split(".")[0] == "hypeeg"
        if self.verbose:
            return record.levelno >= (logging.INFO if own else logging.WARNING)
        return record.levelno >= (logging.WARNING if own else logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line above the progress bar."""
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        tqdm.tqdm.write(f"{level}{record.getMessage()}", file=sys.stderr)


class RunFile(logging.FileHandler):
    """The log file of a run; a full disk is told by what must be recorded, not by its log."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a message that finds no space; otherwise as usual."""
        if not _no_space(sys.exc_info()[1]):
            super().handleError(record)

    def close(self) -> None:
        """Close the file, without what finds no space."""
        try:
            super().close()
        except OSError as error:
            if not _no_space(error):
                raise


def _no_space(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def run_log(path: Path) -> Iterator[WarningCount]:
    """Write all log messages and Python warnings to a file while the block runs.

    Parameters
    ----------
    path : Path
        The file; appended to.

    Yields
    ------
    WarningCount
        Number of warnings so far.
    """
    # MNE writes to the screen by itself unless it is told otherwise before its first import.
    os.environ.setdefault("MNE_LOGGING_LEVEL", "WARNING")
    root = logging.getLogger()
    before = root.level
    file = RunFile(path, encoding="utf-8")
    file.setLevel(logging.INFO)
    file.setFormatter(logging.Formatter(FORMAT))
    counter = WarningCount()
    handlers: list[logging.Handler] = [file, counter]
    root.setLevel(min(before or logging.INFO, logging.INFO))
    for handler in handlers:
        root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield counter
    finally:
        logging.captureWarnings(False)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(before)


@contextmanager
def screen_log(verbose: bool = False) -> Iterator[None]:
    """Show a person's share of the log messages on standard error while the block runs."""
    handler = ScreenHandler(verbose)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
