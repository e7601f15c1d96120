"""Colours and symbols that stay apart for colour-blind readers, on light and dark grounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

COLORS = ("#1C86CC", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Six colours after Okabe and Ito.

Their blue is lightened to show on dark grounds; their yellow and black are left out, which one of
the grounds would swallow.

M. Okabe, K. Ito, "Color universal design", 2008.
"""

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star")

NEUTRAL = "#8A8F98"
FAINT = "rgba(138, 143, 152, 0.35)"
FAINTEST = "rgba(138, 143, 152, 0.07)"

BETTER, WORSE = COLORS[0], COLORS[5]

SCALE = "Cividis"
"""Colour scale for numbers (Nuñez et al., PLoS ONE 13, e0199239, 2018)."""

MAX_CATEGORIES = 24
"""Beyond it a legend helps nobody: categories are coloured by their order instead."""


def style(number: int) -> dict[str, Any]:
    """Return colour and symbol of the category with this number: 36 different ones."""
    return {
        "color": COLORS[number % len(COLORS)],
        "symbol": SYMBOLS[(number + number // len(COLORS)) % len(SYMBOLS)],
    }


def faded(color: str, opacity: float) -> str:
    """Return a ``#RRGGBB`` colour with an opacity."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def categories(values: Sequence[Any] | np.ndarray) -> list[str]:
    """Return the different values as text, numbers in the order of their size."""
    texts = {str(value) for value in values}
    if all(text.lstrip("-").isdigit() for text in texts):
        return sorted(texts, key=int)
    return sorted(texts)
