"""What the Home and Launch pages do beside drawing: find run files, estimate, start runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from hypeeg.eeg.errors import DataError
from hypeeg.eeg.inventory import Inventory, inventory
from hypeeg.eeg.manifest import Manifest, list_manifests, load_manifest
from hypeeg.eeg.memory import human
from hypeeg.eeg.models.registry import is_hyperbolic
from hypeeg.eeg.models.registry import twin_of as twin_model_of
from hypeeg.experiments.estimate import describe_plan, estimate_run, show_time
from hypeeg.experiments.kinds import read_run_spec
from hypeeg.experiments.library import find_spec
from hypeeg.experiments.model_names import is_known, known_models
from hypeeg.experiments.overrides import with_overrides
from hypeeg.experiments.run_index import RunInfo
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.start import Start, start_run
from hypeeg.experiments.store import RecordError
from hypeeg.experiments.yaml_io import format_yaml
from hypeeg_app.draft import MAX_BYTES, Draft, of_text
from hypeeg_app.screen import REQUEST_KEY

START_KEY = "started"
STARTERS = {"eeg": "quickstart", "vision": "vision_shapes", "hierarchy": "hierarchy_tree"}
"""Run file that comes with hypeeg to begin with, by kind."""

_FLAT = {
    "LorentzResNet": "ResNet",
    "HybridResNet": "ResNet",
    "LorentzEmbedding": "EuclideanEmbedding",
}
MAX_POINTS = 100
"""Points of a sweep that are estimated while somebody waits."""


class NoFileError(ValueError):
    """A run file cannot be taken; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What a run would take, for people."""

    figures: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def shipped_text(name: str) -> str:
    """Return the text of a run file that comes with hypeeg."""
    return find_spec(name).read_text(encoding="utf-8")


def run_text(run: RunInfo) -> str:
    """Return the run file of an earlier run, with the changes it was started with.

    Raises
    ------
    NoFileError
        If the folder does not hold one that can be read.
    """
    path = run.path / "spec_given.yaml"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise NoFileError(f"{path}: too long for a run file")
        text = path.read_text(encoding="utf-8")
        about = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoFileError(f"{run.name} keeps no run file that can be read: {error}") from error
    changes = [str(item) for item in about.get("overrides") or []]
    if not changes:
        return text
    data = of_text(text).data
    if data is None:
        raise NoFileError(f"{path}: holds no run file")
    try:
        return format_yaml(with_overrides(data, changes))
    except SpecError as error:
        raise NoFileError(str(error)) from error


@st.cache_data(show_spinner=False, max_entries=50, ttl=60)
def plan_of(text: str, root: str) -> Plan:
    """Return what a run file would take, judged by the runs in a folder as well.

    Parameters
    ----------
    text : str
        Run file; it must be right.
    root : str
        Folder of runs.
    """
    spec = read_run_spec(text + "\n")
    if spec.sweep is not None:
        points = spec.sweep.n_points
        if points > MAX_POINTS:
            return Plan({"Runs": f"{points}"}, ("Too many runs to estimate here.",))
        return Plan({"Runs": f"{points}"}, tuple(describe_plan(spec, root)[:-1]))
    found = estimate_run(spec, root)
    figures = {"Tasks": f"{found.n_tasks:,}"}
    if found.seconds is not None:
        figures["Time"] = f"~ {show_time(found.seconds)}"
    if found.peak_bytes is not None:
        figures["Memory"] = human(found.peak_bytes)
    return Plan(figures, tuple(describe_plan(spec, root)[:-1]))


@st.cache_data(show_spinner=False, ttl=60)
def dataset_names() -> list[str]:
    """Return the names of all data manifests."""
    return list_manifests()


@st.cache_resource(show_spinner=False, ttl=30, max_entries=20)
def dataset_facts(name: str) -> tuple[Manifest, Inventory] | str:
    """Return a manifest and what of its data is here, or what is wrong with it."""
    try:
        manifest = load_manifest(name)
        return manifest, inventory(manifest)
    except DataError as error:
        return str(error)


@st.cache_data(show_spinner=False)
def model_names() -> list[str]:
    """Return what ``pipelines[].model`` of an EEG run may be, without ``Hyperbolic(...)``."""
    return known_models()


def twin_for(kind: str, pipeline: Mapping[str, Any], taken: list[str]) -> dict[str, Any] | None:
    """Return the Euclidean twin of a pipeline, as it stands in a run file; None without one."""
    model, name = str(pipeline.get("model")), str(pipeline.get("name"))
    if kind == "eeg":
        if not (is_known(model) and is_hyperbolic(model)):
            return None
        twin = twin_model_of(model)
    elif model in _FLAT:
        twin = _FLAT[model]
    else:
        return None
    return {"name": free_name(twin, taken), "model": twin, "twin_of": name}


def free_name(wanted: str, taken: list[str]) -> str:
    """Return a name that no pipeline has."""
    number = 2
    name = wanted
    while name.lower() in {other.lower() for other in taken}:
        name = f"{wanted}-{number}"
        number += 1
    return name


def start(draft: Draft, root: Path) -> None:
    """Start a run; what came of it is shown by :func:`show_start`."""
    try:
        st.session_state[START_KEY] = start_run(draft.text, root)
    except (SpecError, RecordError) as error:
        st.session_state[START_KEY] = str(error)


def show_start() -> None:
    """Show how a start goes; once the run has a folder, go to it."""
    started = st.session_state.get(START_KEY)
    if isinstance(started, str):
        st.error(f"The run was not started. {started}", icon=":material/error:")
        _dismiss()
    elif isinstance(started, Start):
        _watch(started)


def is_starting() -> bool:
    """Whether a run was started and has no folder yet."""
    started = st.session_state.get(START_KEY)
    return isinstance(started, Start) and started.is_alive


@st.fragment(run_every=1.0)
def _watch(started: Start) -> None:
    run = started.find_run()
    if run is not None:
        st.session_state.pop(START_KEY, None)
        # Of a sweep: its first run; the page of runs shows the sweep that the chosen run is of.
        st.session_state[REQUEST_KEY] = run.name
        st.switch_page("views/runs.py")
    if started.is_alive:
        lines = started.words.splitlines()
        with st.container(border=True):
            st.markdown(f":material/rocket_launch: Starting **{started.name}** …")
            st.caption(lines[-1] if lines else "Loading libraries; this takes some seconds.")
        return
    st.error(f"**{started.name}** ended before it began. What it said:", icon=":material/error:")
    st.code(started.words or "(nothing)", language="text", wrap_lines=True)
    _dismiss()


def _dismiss() -> None:
    if st.button("Close", icon=":material/close:", key="start-close"):
        st.session_state.pop(START_KEY, None)
        st.rerun()
