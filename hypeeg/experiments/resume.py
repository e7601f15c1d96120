"""Go on with a run that ended early: exactly the tasks that are missing, none twice.

A task is done if its line in ``folds.jsonl`` is complete and its arrays can be read.  Everything a
task depends on is in the record: the resolved specification, the list of tasks, and hashes of
trials and folds; a run goes on only if all of it is as it was, so that its scores are those of a
run that was never interrupted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hypeeg.experiments.active import ActiveRun, RunResult, carry_out, headline
from hypeeg.experiments.backends import open_backend
from hypeeg.experiments.base_spec import BaseRunSpec
from hypeeg.experiments.eeg_wing import Builder, Loader
from hypeeg.experiments.environment import describe_environment
from hypeeg.experiments.fingerprint import differences
from hypeeg.experiments.gather import readable_part
from hypeeg.experiments.joint import together
from hypeeg.experiments.kinds import read_run_spec
from hypeeg.experiments.observers import default_observers
from hypeeg.experiments.process import GOING_ON, holder_of, judged_state
from hypeeg.experiments.runner import choose_wing
from hypeeg.experiments.sections import BackendSpec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import RecordError, RunFolder, utc_now
from hypeeg.experiments.wings import Wing
from hypeeg.training.torchrun import torchrun_place

logger = logging.getLogger(__name__)


class ResumeError(RecordError):
    """A run cannot go on; the message says why and what to do."""


def resume(
    path: str | Path,
    *,
    failed: bool = False,
    force: bool = False,
    load: Loader | None = None,
    build: Builder | None = None,
    wing: Wing | None = None,
    backend: BackendSpec | None = None,
    progress: bool | None = None,
) -> RunResult:
    """Do the tasks of a run that are missing, and conclude it.

    Parameters
    ----------
    path : str or Path
        Run folder.
    failed : bool
        Run the tasks that failed once more.
    force : bool
        Go on although the run says that it is going on at another machine, whose processes
        cannot be seen from here.
    backend : BackendSpec, optional
        Where the missing tasks run, if elsewhere than the run began; scores do not depend on it.
    load, build, wing, progress
        As in :func:`hypeeg.experiments.runner.run`.

    Returns
    -------
    RunResult
        Of all tasks, also those of earlier attempts.

    Raises
    ------
    ResumeError
        If nothing is missing; the run is alive; its specification is not read, or read
        differently, by this version; or data, folds or the list of tasks differ.  The folder is
        left as it was.
    RecordError
        If the folder is no run folder, is damaged, or another process holds it.
    DataError
        If the recordings are missing or damaged.
    """
    chosen = partial(choose_wing, wing=wing, load=load, build=build)
    lead = partial(_resume, path, failed, force, chosen, backend, progress)
    if torchrun_place() is None:
        return lead()
    spec = read_spec(path)
    return together(spec, chosen(spec), lead)


def _resume(
    path: str | Path,
    failed: bool,
    force: bool,
    wing_for: Callable[[BaseRunSpec], Wing],
    elsewhere: BackendSpec | None,
    progress: bool | None,
) -> RunResult:
    folder = RunFolder(path)
    _check_no_links(folder)
    _check_not_alive(folder, force)
    with folder.held():
        # Once more: another process may have gone on with it and ended in the meantime.
        status = _check_not_alive(folder, force)
        state = judged_state(status)
        spec = read_spec(path)
        if elsewhere is not None:
            spec = spec.model_copy(update={"backend": elsewhere})
        latest = folder.folds.latest()
        stand = [r for r in latest if _stands(r, folder, again=failed)]
        if state == "done" or (state == "failed" and len(stand) == status.get("n_tasks")):
            raise ResumeError(_nothing_missing(folder, state, stand))
        active = ActiveRun(
            spec,
            folder,
            wing_for(spec),
            stand,
            _number(status.get("n_warnings")),
            default_observers(folder.path),
        )
        active.prepare()
        _check_plan(active, bool(latest))
        environment = describe_environment(spec.device, spec.seeds)
        _warn_of_versions(_environment(folder), environment)
        lost = sum(r["status"] == "done" for r in latest) - sum(
            r["status"] == "done" for r in stand
        )

        def start(run: ActiveRun) -> None:
            folder.remove_temporary()
            attempts = [*_attempts(status), _attempt(run, state)]
            folder.take_over(resumed=attempts, **headline(spec))
            folder.write_json(f"environment-{len(attempts) + 1}.json", environment)
            if not latest:
                run.record_plan()
            if lost:
                logger.warning("%d folds run again: their arrays are missing or damaged", lost)
            logger.info(
                "going on (the run was %s): %d of %d tasks are recorded",
                state,
                run.finished,
                len(run.tasks),
            )

        with open_backend(spec) as backend:
            return carry_out(active, start, backend, progress)


def _check_no_links(folder: RunFolder) -> None:
    """Refuse a folder whose files lead elsewhere: going on would write there."""
    for path in folder.path.rglob("*"):
        if path.is_symlink():
            raise ResumeError(
                f"{path} is a link to {str(path.readlink())!r}; a run writes to files of its own: "
                "put what it leads to in its place, or remove it"
            )


def _check_not_alive(folder: RunFolder, force: bool) -> dict[str, Any]:
    status = folder.read_status()
    if status.get("state") not in GOING_ON:
        return status
    holder = holder_of(status)
    if holder == "alive":
        raise ResumeError(
            f"{folder.path}: the run is going on (process {status.get('pid')}); wait for it, or "
            f"end it with 'hypeeg cancel {folder.path}'"
        )
    if holder == "elsewhere" and not force:
        raise ResumeError(
            f"{folder.path}: the run says it is going on at the machine {status.get('host')!r}, "
            "whose processes cannot be seen from here; if it has ended there, use --force"
        )
    return status


def read_spec(path: str | Path) -> BaseRunSpec:
    """Return the specification that a run was started with.

    Parameters
    ----------
    path : str or Path
        Run folder.

    Returns
    -------
    BaseRunSpec
        Resolved.

    Raises
    ------
    ResumeError
        If it is missing, or this version of hypeeg does not read it as it was meant.
    """
    folder = RunFolder(path)
    kept = folder.path / "spec_resolved.yaml"
    made_by = _environment(folder).get("hypeeg")
    remedy = (
        f"install hypeeg {made_by} to go on with it" if made_by else "use the version that made it"
    )
    remedy += f", or start anew with 'hypeeg run {folder.path / 'spec_given.yaml'}'"
    if not kept.is_file():
        raise ResumeError(
            f"{folder.path}: the run ended before its specification was written; start it anew"
        )
    try:
        spec = read_run_spec(kept)
        same = spec.resolve() == spec
    except SpecError as error:
        raise ResumeError(
            f"{kept} is not read by this version of hypeeg; {remedy}\n{error}"
        ) from error
    if not same:
        raise ResumeError(f"{kept} means something else to this version of hypeeg; {remedy}")
    return spec


def _stands(record: Mapping[str, Any], folder: RunFolder, again: bool) -> bool:
    """Whether a record counts as it is."""
    if record["status"] == "failed":
        return not again
    return readable_part(folder.part(int(record["task"])))


def _nothing_missing(folder: RunFolder, state: str, stand: list[dict[str, Any]]) -> str:
    if state == "done":
        return f"{folder.path}: the run is done, nothing is missing"
    n_failed = sum(record["status"] == "failed" for record in stand)
    return (
        f"{folder.path}: nothing is missing; --failed runs the {n_failed} tasks that failed "
        "once more"
    )


def _check_plan(active: ActiveRun, begun: bool) -> None:
    """Refuse to mix two experiments in one record."""
    folder = active.folder
    planned = folder.path / "tasks.csv"
    if planned.exists() and planned.read_text(encoding="utf-8") != active.task_table():
        old = planned.read_text(encoding="utf-8").splitlines()
        new = active.task_table().splitlines()
        at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
        what = (
            f"{len(old) - 1} tasks were planned and there are {len(new) - 1} now"
            if at is None
            else f"line {at + 1} was {old[at]!r} and is {new[at]!r}"
        )
        raise ResumeError(f"{planned}: the list of tasks differs: {what}. {_REMEDY}")
    data = folder.path / "data.json"
    if not data.exists():
        if begun:
            logger.warning(
                "%s has no data.json (an early version made it): whether the data are the same "
                "cannot be checked",
                folder.path,
            )
        return
    try:
        before = json.loads(data.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResumeError(f"{data}: damaged ({error}); start the run anew") from error
    found = differences(before, active.described)
    if found:
        raise ResumeError(f"{data}: not the data of this run: {'; '.join(found)}. {_REMEDY}")


_REMEDY = (
    "Put back the recordings and library versions that it started with (data.json, "
    "environment.json), or start the run anew"
)


def _warn_of_versions(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = _versions(before), _versions(now)
    changed = [
        f"{name} {old[name]} → {new.get(name)}" for name in old if old[name] != new.get(name)
    ]
    if changed:
        logger.warning(
            "not what the run started with, scores may differ: %s", ", ".join(sorted(changed))
        )


def _versions(environment: Mapping[str, Any]) -> dict[str, Any]:
    packages = environment.get("packages")
    git, device = environment.get("git"), environment.get("device")
    found = dict(packages) if isinstance(packages, Mapping) else {}
    found |= {name: environment.get(name) for name in ("hypeeg", "python", "machine")}
    found["hypeeg commit"] = git.get("commit") if isinstance(git, Mapping) else None
    found["device"] = device.get("used") if isinstance(device, Mapping) else None
    return {name: value for name, value in found.items() if value is not None}


def _environment(folder: RunFolder) -> dict[str, Any]:
    try:
        value = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # It only serves a comparison that cannot be made then.
        return {}
    return value if isinstance(value, dict) else {}


def _attempts(status: Mapping[str, Any]) -> list[Any]:
    value = status.get("resumed")
    return list(value) if isinstance(value, list) else []


def _attempt(run: ActiveRun, state: str) -> dict[str, Any]:
    return {"at": utc_now(), "state_before": state, "n_recorded": run.finished}


def _number(value: Any) -> int:
    return value if type(value) is int else 0
