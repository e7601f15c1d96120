"""The whole form of a run file: its parts in their order, basics before the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import streamlit as st

from hypeeg.experiments.kinds import spec_class
from hypeeg_app.draft import Draft, Path, of_text
from hypeeg_app.form_schema import entries
from hypeeg_app.form_widgets import ROUND_KEY, Form, current, replace
from hypeeg_app.launching import (
    STARTERS,
    dataset_facts,
    dataset_names,
    free_name,
    model_names,
    shipped_text,
    twin_for,
)
from hypeeg_app.manifest_card import show_manifest
from hypeeg_app.screen import columns

KINDS = {"eeg": "EEG", "vision": "Images", "hierarchy": "Taxonomies"}
CURVATURE = ("curvature", "c", "sharpness")
# What most people set; the rest of each section follows behind an expander.
BASICS = {
    "dataset": ("subjects", "sessions", "events", "classes", "labels", "branching", "depth"),
    "preprocessing": ("fmin", "fmax", "resample", "tmin", "tmax", "standardise"),
    "evaluation": ("kind", "n_folds", "seeds", "scoring"),
    "training": ("max_epochs", "epochs", "batch_size", "lr"),
    "pipelines": ("name", "model", "twin_of"),
}
TITLES = {
    "preprocessing": (":material/tune:", "Preprocessing"),
    "evaluation": (":material/call_split:", "Evaluation"),
    "training": (":material/model_training:", "Training"),
}
RESOURCES = ("device", "n_jobs", "resources", "backend")


def show_form(form: Form) -> None:
    """Show the whole form."""
    model = spec_class(form.draft.kind)
    known = entries(model)
    form.fields(model, (), ["name", "description"])
    show_data(form)
    show_pipelines(form)
    for name, (icon, title) in TITLES.items():
        if name in known:
            show_section(form, name, icon, title)
    rest(form, "Resources", ":material/memory:", [n for n in RESOURCES if n in known])
    rest(form, "What is kept", ":material/save:", ["save"])
    rest(form, "Sweep: run with several values", ":material/grid_on:", ["sweep"])
    seen = {"name", "description", "kind", "dataset", "pipelines", *TITLES, *RESOURCES}
    more = [n for n in known if n not in seen | {"save", "sweep"}]
    if more:
        rest(form, "More", ":material/more_horiz:", more)


def rest(form: Form, title: str, icon: str, names: list[str]) -> None:
    """Show fields of the file itself behind an expander."""
    model = spec_class(form.draft.kind)
    form.fold(title, icon, (), names, lambda chosen: form.fields(model, (), chosen))


def show_data(form: Form) -> None:
    """Show which data a run is on."""
    draft = form.draft
    heading(":material/database:", "Data")
    with st.container(border=True):
        key = f"launch-kind-{st.session_state[ROUND_KEY]}"
        left, right = columns([2, 3], "launch-data", "part")
        with left:
            st.segmented_control(
                "Kind of run",
                list(KINDS),
                format_func=KINDS.__getitem__,
                default=draft.kind,
                required=True,
                key=key,
                on_change=take_kind,
                args=(key,),
                help="Changing it begins with another run file.",
            )
        section = entries(spec_class(draft.kind))["dataset"].section
        assert section is not None
        fields = entries(section)
        with right:
            name_field(form, fields["name"])
        if draft.kind == "eeg" and isinstance(draft.get(("dataset", "name")), str):
            show_manifest(dataset_facts(draft.get(("dataset", "name"))))
        facts = manifest_of(draft)
        base = {}
        if facts is not None:
            base = {"subjects": facts.default_subjects, "events": facts.default_events}
            base["sessions"] = facts.sessions or ["all"]
        basics = [n for n in BASICS["dataset"] if n in fields]
        form.fields(section, ("dataset",), basics, base)
        others = [n for n in fields if n not in basics and n != "name"]
        if others:
            form.fields(section, ("dataset",), others)
        form.tell(("dataset",))


def name_field(form: Form, entry: Any) -> None:
    """Show the choice of the data set."""
    before = form.suggest
    if form.draft.kind == "eeg":
        form.suggest = lambda path: dataset_names()
    elif form.draft.kind == "hierarchy":
        from hypeeg.experiments.hierarchy_spec import NAMES

        form.suggest = lambda path: list(NAMES)
    form.field(dataclasses.replace(entry, label="Data set"), ("dataset", "name"))
    form.suggest = before


def show_pipelines(form: Form) -> None:
    """Show what is compared."""
    draft = form.draft
    section = entries(spec_class(draft.kind))["pipelines"].section
    assert section is not None
    fields = entries(section)
    heading(":material/account_tree:", "Pipelines")
    form.tell(("pipelines",))
    given = draft.get(("pipelines",))
    taken = [str(p.get("name")) for p in pipelines_of(draft)]
    for number, pipeline in enumerate(given if isinstance(given, list) else []):
        if not isinstance(pipeline, dict):
            continue
        path: Path = ("pipelines", number)
        with st.container(border=True):
            row = form.fields(section, path, [n for n in BASICS["pipelines"] if n in fields])
            with row if row is not None else st.container(horizontal=True):
                twin = twin_for(draft.kind, pipeline, taken)
                has_twin = any(
                    p.get("twin_of") == pipeline.get("name") for p in pipelines_of(draft)
                )
                if twin is not None and not has_twin:
                    action("Add twin", "compare", f"twin-{number}", add, twin, number)
                action("Copy", "content_copy", f"copy-{number}", copy, number)
                action("Remove", "delete", f"remove-{number}", drop, number)
            form.tell(path)
            others = [n for n in fields if n not in BASICS["pipelines"]]
            label = "Parameters, training, tuning" if "tuning" in fields else "Parameters, training"
            form.fold(
                label,
                ":material/tune:",
                path,
                others,
                lambda chosen, path=path: form.fields(section, path, chosen),
            )
    first = {"eeg": ("TS+LR", "ts_lr"), "vision": ("ResNet", "ResNet")}
    name, model = first.get(draft.kind, ("Euclidean", "EuclideanEmbedding"))
    action(
        "Add a pipeline", "add", "add", add, {"name": free_name(name, taken), "model": model}, None
    )


def action(label: str, icon: str, key: str, call: Any, *args: Any) -> None:
    """Show a button that changes the draft."""
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"launch-{st.session_state[ROUND_KEY]}-{key}",
        type="tertiary",
        on_click=call,
        args=args,
    )


def add(pipeline: dict[str, Any], after: int | None) -> None:
    """Add a pipeline, behind another one or at the end."""
    found = current().get(("pipelines",))
    found = list(found) if isinstance(found, list) else []
    found.insert(len(found) if after is None else after + 1, pipeline)
    replace(current().with_value(("pipelines",), found))


def drop(number: int) -> None:
    """Remove a pipeline."""
    replace(current().without(("pipelines", number)))


def copy(number: int) -> None:
    """Add a pipeline like another one."""
    pipeline = pipelines_of(current())[number]
    taken = [str(p.get("name")) for p in pipelines_of(current())]
    add({**pipeline, "name": free_name(str(pipeline.get("name")), taken)}, number)


def show_section(form: Form, name: str, icon: str, title: str) -> None:
    """Show a section: what most people set, then the rest behind expanders."""
    section = entries(spec_class(form.draft.kind))[name].section
    assert section is not None
    fields = list(entries(section))
    base = None
    heading(icon, title)
    with st.container(border=True):
        if name == "preprocessing":
            manifest = manifest_of(form.draft)
            base = {} if manifest is None else manifest.preprocessing.model_dump(mode="json")
            st.caption("Grey values are what the data set's manifest recommends.")
        form.tell((name,))
        basics = [n for n in BASICS[name] if n in fields]
        form.fields(section, (name,), basics, base)
        others = [n for n in fields if n not in basics]
        curved = [n for n in others if n.split("_")[0] in CURVATURE]
        groups = {"Curvature": curved, "More": [n for n in others if n not in curved]}
        if name == "training":
            groups = {"Curvature": curved, "Optimiser and more": groups["More"]}
        for label, names in groups.items():
            if not names:
                continue
            form.fold(
                label,
                ":material/expand_content:",
                (name,),
                names,
                lambda chosen: form.fields(section, (name,), chosen, base),
            )


def heading(icon: str, title: str) -> None:
    """Show the heading of a part of the form."""
    st.subheader(f"{icon} {title}", anchor=False)


def take_kind(key: str) -> None:
    """Begin with another kind of run."""
    kind = st.session_state[key]
    if kind != current().kind:
        replace(of_text(shipped_text(STARTERS[kind])))


def suggestions(draft: Draft) -> Any:
    """Return what fields may hold that the schema alone does not know."""
    names = [str(p.get("name")) for p in pipelines_of(draft)]
    facts = manifest_of(draft)

    def suggest(path: Path) -> Sequence[Any] | None:
        if path == ("device",):
            return ["auto", "cpu", "cuda", "mps"]
        if path[0] == "dataset" and facts is not None:
            return {"sessions": facts.sessions, "events": list(facts.events)}.get(str(path[-1]))
        if path[0] == "pipelines" and path[-1] in ("twin_of", "variant_of"):
            return [name for i, name in enumerate(names) if i != path[1]]
        if path[0] == "pipelines" and path[-1] == "model" and draft.kind == "eeg":
            return model_names()
        return None

    return suggest


def pipelines_of(draft: Draft) -> list[dict[str, Any]]:
    """Return the pipelines of a draft, leaving out what is none."""
    found = draft.get(("pipelines",))
    return [p for p in found if isinstance(p, dict)] if isinstance(found, list) else []


def manifest_of(draft: Draft) -> Any:
    """Return the manifest of the draft's data, None without one."""
    name = draft.get(("dataset", "name"))
    if draft.kind != "eeg" or not isinstance(name, str):
        return None
    found = dataset_facts(name)
    return None if isinstance(found, str) else found[0]
