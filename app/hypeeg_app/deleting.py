"""Asking before runs and sweeps are deleted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from hypeeg.experiments.run_index import list_runs
from hypeeg.experiments.sweep_index import is_sweep
from hypeeg_app import actions
from hypeeg_app.performing import say

_ASK_KEY = "runs-delete"


def request_deletion(paths: Iterable[Path]) -> None:
    """Draw the page anew with the question whether these folders shall go."""
    st.session_state[_ASK_KEY] = [str(path) for path in paths]
    st.rerun()


def ask_if_requested(root: Path) -> None:
    """Show the question if one is open and the folders are still there."""
    paths = [Path(text) for text in st.session_state.get(_ASK_KEY, [])]
    there = [path for path in paths if path.is_dir()]
    if there:
        _ask(there, root)


def named(paths: Iterable[Path]) -> tuple[str, list[str]]:
    """Return how much would go, in words, and the name of every folder."""
    lines, n_runs, n_sweeps = [], 0, 0
    for path in paths:
        lines.append(path.name)
        if is_sweep(path):
            members = list_runs(path)
            lines += [f"  {run.name}" for run in members]
            n_sweeps += 1
            n_runs += len(members)
        else:
            n_runs += 1
    words = f"{n_runs} run{'' if n_runs == 1 else 's'}"
    if n_sweeps:
        words = f"{n_sweeps} sweep{'' if n_sweeps == 1 else 's'} with {words}"
    return words, lines


def _keep_all() -> None:
    """Forget the question."""
    st.session_state.pop(_ASK_KEY, None)


@st.dialog("Delete for good?", icon=":material/delete:", on_dismiss=_keep_all)
def _ask(paths: list[Path], root: Path) -> None:
    words, lines = named(paths)
    st.markdown(
        f"**{words}**: the folders with scores, embeddings and networks will be removed. This "
        "cannot be undone."
    )
    st.code("\n".join(lines), language=None, height=min(400, 24 * len(lines) + 44))
    with st.container(horizontal=True):
        if st.button(f"Delete {words}", type="primary", icon=":material/delete:", key="delete-yes"):
            removed, refused = actions.delete(paths, root)
            _keep_all()
            done = f"Deleted: {', '.join(removed)}." if removed else ""
            say("error" if refused else "done", "\n\n".join(filter(None, [done, *refused])))
            st.rerun()
        if st.button("Keep", key="delete-no"):
            _keep_all()
            st.rerun()
