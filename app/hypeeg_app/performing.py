"""Doing what a button asks for, and telling on the next drawing what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from hypeeg_app.actions import ActionError

_SAID_KEY = "runs-said"


def perform(tasks: list[Callable[[], None]]) -> None:
    """Do what was asked for, remember what could not be done, and draw the page anew."""
    problems = []
    for task in tasks:
        try:
            task()
        except ActionError as error:
            problems.append(str(error))
    if problems:
        say("error", "\n\n".join(problems))
    st.rerun()


def say(kind: Literal["done", "error"], text: str) -> None:
    """Keep words for the next drawing of the page."""
    st.session_state[_SAID_KEY] = (kind, text)


def show_said() -> None:
    """Show once what the last action came to."""
    kind, text = st.session_state.pop(_SAID_KEY, ("", ""))
    if kind == "error":
        st.error(text, icon=":material/error:")
    elif kind:
        st.success(text, icon=":material/check:")
