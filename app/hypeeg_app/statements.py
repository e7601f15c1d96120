"""Planned comparisons in words, as a figure and as a table: as the report says them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from hypeeg.experiments.comparisons import PairedResult, effect_rows
from hypeeg.viz import differences_figure
from hypeeg_app.results import FAMILIES, plain, statement_of, verdict
from hypeeg_app.screen import chart

MANY = 4
"""From so many comparisons of a family on, their sentences are folded away."""


def show_statements(
    results: Sequence[PairedResult], score: str, key: str, heading: bool = True
) -> None:
    """Show comparisons family by family: badges and sentences, the intervals, the numbers."""
    families = list(dict.fromkeys(result.family for result in results))
    for family in families:
        own = [result for result in results if result.family == family]
        if heading:
            st.subheader(FAMILIES[family], anchor=False)
        if len(own) < MANY:
            _sentences(own)
        _figure(own, score, f"{key}-{family}")
        if len(own) >= MANY:
            with st.expander(f"In words: {len(own)} comparisons", icon=":material/notes:"):
                _sentences(own)
        with st.expander("Numbers", icon=":material/table:"):
            header, rows = effect_rows(own)
            st.dataframe(pd.DataFrame(rows, columns=header), hide_index=True)
            n = own[0].family_size
            family_words = f"the {n} tests" if n > 1 else "the one test"
            st.caption(
                f"Wilcoxon signed-rank test with {own[0].unit}s as units; p_Holm is corrected for "
                f"{family_words} of this family. [ ]: 95 % bootstrap interval."
            )


def _sentences(results: Sequence[PairedResult]) -> None:
    for result in results:
        icon, color, words = verdict(result)
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                names = f"**{plain(result.pipeline)} − {plain(result.other)}**"
                st.markdown(names, width="content")
                st.badge(words, icon=icon, color=color)
            said = statement_of(result)
            st.markdown(plain(said[:1].upper() + said[1:]))


def _figure(results: Sequence[PairedResult], score: str, key: str) -> None:
    if all(result.n_subjects < 2 for result in results):
        return
    figure = differences_figure(
        [f"{result.pipeline} − {result.other}" for result in results],
        [result.mean for result in results],
        [result.low for result in results],
        [result.high for result in results],
        [result.p_holm for result in results],
        rope=results[0].rope,
        score_name=score,
    )
    chart(figure, f"differences-{key}", f"Mean difference in {score} of each comparison")
    st.caption(
        f"Mean difference over {results[0].unit}s with its 95 % interval. Filled: p_Holm below "
        f"0.05. The grey band, ±{results[0].rope:g}, counts as practically equal."
    )
