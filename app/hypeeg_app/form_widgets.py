"""Inputs for the fields of a run file, drawn from :mod:`hypeeg_app.form_schema`.

Each input writes into the draft the moment it is changed, before the page is drawn anew: the whole
file is checked once at each change, and what is wrong stands at the field that it concerns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import streamlit as st
from pydantic import BaseModel

from hypeeg.experiments.spec_errors import Problem
from hypeeg.experiments.yaml_io import format_yaml
from hypeeg_app.draft import Draft, Path, read_value
from hypeeg_app.form_schema import Entry, entries, listing, numbers, placeholder_of, shown

DRAFT_KEY = "launch-draft"
ROUND_KEY = "launch-round"
REFUSED_KEY = "launch-refused"
NOTHING = "none"
WIDE = ("yaml",)
LONG = ("description",)
WIDTH = 218
"""Of a field, in pixels: rows wrap, so that narrow windows have fewer fields in a row."""
WIDTH_WITH_WORDS = 2 * WIDTH + 16

Suggest = Callable[[Path], Sequence[Any] | None]
"""Values that a field may take, where the schema alone does not know them."""


def current() -> Draft:
    """Return the draft that the page works on."""
    draft: Draft = st.session_state[DRAFT_KEY]
    return draft


def replace(draft: Draft) -> None:
    """Take another draft; every input shows its values."""
    st.session_state[DRAFT_KEY] = draft
    st.session_state[ROUND_KEY] = st.session_state.get(ROUND_KEY, 0) + 1
    st.session_state[REFUSED_KEY] = {}


def refused() -> dict[Path, str]:
    """Return what was typed into fields and cannot be a value of them, with the reason."""
    found: dict[Path, str] = st.session_state.setdefault(REFUSED_KEY, {})
    return found


def all_problems() -> list[Problem]:
    """Return everything that keeps the draft from being run."""
    typed = [Problem(".".join(map(str, path)), why) for path, why in refused().items()]
    return [*typed, *current().problems]


class Form:
    """The form of one draft; remembers which problems were shown at a field.

    Parameters
    ----------
    suggest : callable
        Values for fields of which the schema does not name them.
    """

    def __init__(self, suggest: Suggest) -> None:
        self.draft = current()
        self.suggest = suggest
        self.problems = all_problems()
        self.told: set[Problem] = set()

    def fields(
        self,
        model: type[BaseModel],
        path: Path,
        names: Iterable[str],
        base: Mapping[str, Any] | None = None,
    ) -> Any:
        """Draw some fields of a section.

        Parameters
        ----------
        model : type of BaseModel
            The section.
        path : tuple
            Where it stands in the file.
        names : iterable of str
            Its fields, in the order to draw them.
        base : mapping, optional
            What holds where the file gives nothing, if that is not the schema's default; these
            fields are empty until they are given.

        Returns
        -------
        container
            The last row of small fields, None if the last field was a large one.
        """
        known = entries(model)
        names = list(names)
        row: Any = None
        for name in names:
            entry = known[name]
            if entry.shape in ("section", "sections"):
                row = None
                self.optional_section(entry, (*path, name))
                continue
            if entry.shape in WIDE:
                row = None
                self.field(entry, (*path, name), base)
                continue
            if row is None:
                wrong = any(self.of((*path, other)) for other in names)
                align = "top" if wrong else "bottom"
                row = st.container(horizontal=True, vertical_alignment=align)
            with row, st.container(width=self._width(name, (*path, name))):
                self.field(entry, (*path, name), base)
        return row

    def _width(self, name: str, path: Path) -> int | str:
        if name in LONG:
            return "stretch"
        return WIDTH_WITH_WORDS if self.of(path) else WIDTH

    def optional_section(self, entry: Entry, path: Path) -> None:
        """Draw a section, behind a switch if a file may leave it out."""
        assert entry.section is not None
        if entry.optional:
            key = self._key(path, "switch")
            self._seed(key, self.draft.get(path) is not None)
            st.toggle(entry.label, key=key, help=entry.about, on_change=_switch, args=(key, path))
            if self.draft.get(path) is None:
                return
        else:
            st.markdown(f"**{entry.label}**", help=entry.about or None)
        with st.container(border=True):
            base: dict[str, Any] = {}
            if path[0] == "pipelines" and path[-1] == "training":
                # Options of a pipeline differ from the run's only where they are given.
                own = entries(entry.section)
                run = self.draft.get(("training",))
                base = {name: item.default for name, item in own.items()}
                base |= run if isinstance(run, dict) else {}
            self.fields(entry.section, path, entry.section.model_fields, base)
            self.tell(path)

    def fold(
        self,
        label: str,
        icon: str,
        path: Path,
        names: Iterable[str],
        draw: Callable[[list[str]], Any],
    ) -> None:
        """Draw fields behind an expander, which tells how many are given and opens on mistakes.

        What nobody has opened is not drawn: a page of all fields takes a browser seconds.
        """
        names = list(names)
        count = sum(self.draft.has((*path, name)) for name in names)
        wrong = any(self.of((*path, name)) for name in names)
        key = self._key((*path, *names[:1]), "fold")
        if wrong:
            st.session_state[key] = True
        folder = st.expander(
            f"{label} · {count} given" if count else label,
            icon=":material/error:" if wrong else icon,
            key=key,
            on_change="rerun",
        )
        if folder.open:
            with folder:
                draw(names)

    def field(self, entry: Entry, path: Path, base: Mapping[str, Any] | None = None) -> None:
        """Draw one field and what is wrong with it."""
        partial = base is not None and entry.name in base
        default = base[entry.name] if base is not None and partial else entry.default
        value = self.draft.get(path, None if partial else default)
        if entry.shape == "choice" and isinstance(value, str) and value not in entry.choices:
            value, default = None, value  # a wrong word is shown in grey, to be chosen anew
        shape = entry.shape if _fits(value, entry, self.suggest(path)) else "yaml"
        _DRAW[shape](self, entry, path, value, default)
        self.tell(path, below=True)

    def tell(self, path: Path, below: bool = False) -> None:
        """Say what is wrong with a field or section; `below`: also with what it holds."""
        for problem in self.of(path, below):
            if problem in self.told:
                continue
            self.told.add(problem)
            st.error(problem.message, icon=":material/error:")
            self._remedies(path, problem)

    def of(self, path: Path, below: bool = True) -> list[Problem]:
        """Return the problems of a field or section."""
        name = ".".join(map(str, path))
        return [
            p for p in self.problems if p.path == name or (below and p.path.startswith(f"{name}."))
        ]

    def untold(self) -> list[Problem]:
        """Return the problems that no field has shown."""
        return [problem for problem in self.problems if problem not in self.told]

    def _remedies(self, path: Path, problem: Problem) -> None:
        """Offer a button for each key that a message says to remove."""
        named = dict.fromkeys(re.findall(r"remove (\w+)", problem.message))
        for key in named:
            if self.draft.has((*path, key)):
                st.button(
                    f"Remove {key}",
                    key=self._key((*path, key), "remove"),
                    icon=":material/backspace:",
                    on_click=lambda where=(*path, key): replace(current().without(where)),
                )

    def _key(self, path: Path, use: str = "") -> str:
        return f"launch-{st.session_state.get(ROUND_KEY, 0)}-{use}-{'.'.join(map(str, path))}"

    def _seed(self, key: str, value: Any) -> None:
        # Streamlit forgets inputs of a page that was left: they take over the draft again.
        if key not in st.session_state:
            st.session_state[key] = value

    def _options(self, entry: Entry, path: Path, key: str) -> dict[str, Any]:
        about = f"`{'.'.join(map(str, path))}`" + (f": {entry.about}" if entry.about else "")
        return {
            "label": entry.label,
            "key": key,
            "help": about,
            "on_change": _take,
            "args": (key, path, entry),
        }

    def _flag(self, entry: Entry, path: Path, value: Any, default: Any) -> None:
        if value is None:  # open: neither yes nor no is given
            self._choice(entry, path, None, default, ("yes", "no"))
            return
        key = self._key(path, "flag")
        self._seed(key, value)
        st.toggle(**self._options(entry, path, key))

    def _choice(
        self,
        entry: Entry,
        path: Path,
        value: Any,
        default: Any,
        choices: tuple[str, ...] | None = None,
    ) -> None:
        key = self._key(path, "choice")
        choices = entry.choices if choices is None else choices
        if entry.optional and entry.default is not None:
            choices = (*choices, NOTHING)
            value = NOTHING if value is None and self.draft.has(path) else value
        self._seed(key, value)
        st.selectbox(
            options=choices,
            index=None,
            format_func=lambda text: text.replace("_", " "),
            placeholder=placeholder_of(default),
            **self._options(entry, path, key),
        )

    def _number(self, entry: Entry, path: Path, value: Any, default: Any) -> None:
        whole = entry.shape == "whole"
        key = self._key(path, "number")
        self._seed(key, None if value is None else (int if whole else float)(value))
        st.number_input(
            value=None,
            step=max(1, int(entry.step)) if whole else entry.step,
            format="%d" if whole else "%g",
            placeholder=placeholder_of(default),
            **self._options(entry, path, key),
        )

    def _text(self, entry: Entry, path: Path, value: Any, default: Any) -> None:
        known = self.suggest(path)
        key = self._key(path, "text")
        self._seed(key, value)
        if known is None:
            st.text_input(placeholder=placeholder_of(default), **self._options(entry, path, key))
            return
        st.selectbox(
            options=[*known] if value is None or value in known else [*known, value],
            index=None,
            accept_new_options=True,
            placeholder=placeholder_of(default),
            **self._options(entry, path, key),
        )

    def _numbers(self, entry: Entry, path: Path, value: Any, default: Any) -> None:
        key = self._key(path, "numbers")
        one = isinstance(value, int)
        self._seed(key, "" if value is None else listing([value] if one else value))
        st.text_input(placeholder=placeholder_of(default), **self._options(entry, path, key))

    def _words(self, entry: Entry, path: Path, value: Any, default: Any) -> None:
        known = [str(item) for item in self.suggest(path) or []]
        key = self._key(path, "words")
        given = [str(item) for item in ([value] if isinstance(value, str) else value or [])]
        self._seed(key, given)
        st.multiselect(
            options=list(dict.fromkeys([*known, *given])),
            accept_new_options=True,
            placeholder=placeholder_of(default),
            **self._options(entry, path, key),
        )

    def _yaml(self, entry: Entry, path: Path, value: Any, default: Any) -> None:
        key = self._key(path, "yaml")
        empty = value is None or (value in ({}, []) and not self.draft.has(path))
        self._seed(key, "" if empty else _as_yaml(value))
        lines = 1 + str(st.session_state[key]).count("\n")
        options = self._options(entry, path, key)
        if lines == 1:
            st.text_input(placeholder=placeholder_of(default), **options)
        else:
            st.text_area(height=26 * min(lines, 10) + 40, **options)


_DRAW: Mapping[str, Callable[..., None]] = {
    "flag": Form._flag,
    "choice": Form._choice,
    "whole": Form._number,
    "number": Form._number,
    "text": Form._text,
    "numbers": Form._numbers,
    "words": Form._words,
    "yaml": Form._yaml,
}


def _fits(value: Any, entry: Entry, known: Sequence[Any] | None) -> bool:
    """Whether the input of a field can hold a value; a wrong one of a file is shown as it is."""
    if value is None:
        return True
    a_number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = isinstance(value, int) and a_number
    checks: dict[str, Callable[[], bool]] = {
        "flag": lambda: isinstance(value, bool),
        "choice": lambda: value in entry.choices,
        "whole": lambda: whole and abs(value) < 2**53,
        "number": lambda: a_number,
        "text": lambda: isinstance(value, str) and "\n" not in value.strip(),
        "numbers": lambda: whole or _all(value, int),
        "words": lambda: isinstance(value, str) or _all(value, int | str),
    }
    return entry.shape not in checks or checks[entry.shape]()


def _all(value: Any, kind: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, kind) and not isinstance(item, bool) for item in value
    )


def _as_yaml(value: Any) -> str:
    return shown(value) if not isinstance(value, str) else format_yaml(value).split("\n...")[0]


def _switch(key: str, path: Path) -> None:
    draft = current()
    replace(draft.with_value(path, {}) if st.session_state[key] else draft.without(path))


def _take(key: str, path: Path, entry: Entry) -> None:
    """Take over what was typed into a field."""
    draft, typed = current(), st.session_state[key]
    refused().pop(path, None)
    try:
        value = _value_of(typed, key, entry)
    except ValueError as error:
        refused()[path] = str(error)
        return
    if value is None and typed != NOTHING:
        st.session_state[DRAFT_KEY] = draft.without(path)
    else:
        st.session_state[DRAFT_KEY] = draft.with_value(path, value)


def _value_of(typed: Any, key: str, entry: Entry) -> Any:
    """Return the value that an input stands for, None for none."""
    use = key.split("-")[2]
    if use == "choice" and entry.shape == "flag":
        return {"yes": True, "no": False}.get(typed)
    if use == "choice":
        return None if typed == NOTHING and NOTHING not in entry.choices else typed
    if use == "number" and isinstance(typed, float) and typed.is_integer() and abs(typed) < 1e9:
        return int(typed)
    if use == "numbers":
        return numbers(typed) or None
    if use == "words":
        return list(typed) or None
    if use == "yaml":
        return read_value(typed)
    return typed if use != "text" else (typed or "").strip() or None
