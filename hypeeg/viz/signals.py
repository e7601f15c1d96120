"""Recordings as Plotly figures: signals, spectra, sensors on the head, trials of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hypeeg.viz.palette import COLORS, FAINT, FAINTEST, NEUTRAL, faded

_MARGIN = {"l": 8, "r": 8, "t": 36, "b": 8}
# More events than this in a picture would cover the signals with words.
_MAX_EVENT_LABELS = 14


def signals_figure(
    signals: np.ndarray,
    sfreq: float,
    names: Sequence[str],
    *,
    start: float = 0.0,
    onsets: Sequence[float] | np.ndarray = (),
    events: Sequence[str] | np.ndarray = (),
    event_names: Sequence[str] = (),
    spacing: float | None = None,
    unit: str = "µV",
    height: int | None = None,
) -> go.Figure:
    """Draw channels below one another, as on paper.

    Parameters
    ----------
    signals : ndarray, shape (n_channels, n_times)
        In `unit`. The mean of each channel is taken off.
    sfreq : float
        Hz.
    names : sequence of str
        Channels, drawn from top to bottom.
    start : float
        Time of the first sample, s.
    onsets : sequence of float
        Times of events, s.
    events : sequence of str
        What each onset is.
    event_names : sequence of str
        All events there are, so that colours do not change with what is in view; by default
        those of `events`.
    spacing : float, optional
        Distance of two channels in `unit`; by default six times the median of the channels'
        standard deviations, rounded.
    unit : str
        Unit of the signals.
    height : int, optional
        Pixels; by default enough for the channels.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    ValueError
        If `names` or `events` do not fit.
    """
    x = np.asarray(signals, dtype=float)
    if x.ndim != 2 or len(names) != len(x):
        raise ValueError(f"signals have shape {x.shape} for {len(names)} names; give one a row")
    if len(onsets) != len(events):
        raise ValueError(f"{len(onsets)} onsets for {len(events)} events; give one each")
    times = start + np.arange(x.shape[1]) / sfreq
    mean = np.nanmean(x, axis=1, keepdims=True) if x.size else 0.0
    x = x - mean
    spacing = spacing or rounded(6 * float(np.nanmedian(np.nanstd(x, axis=1))))
    figure = go.Figure()
    for row, name in enumerate(names):
        figure.add_trace(
            go.Scatter(
                x=times,
                y=x[row] / spacing - row,
                customdata=x[row],
                mode="lines",
                line={"width": 1, "color": COLORS[0]},
                name=name,
                hovertemplate=f"{name}: %{{customdata:.4g}} {unit}<extra>%{{x:.2f}} s</extra>",
                showlegend=False,
            )
        )
    _add_events(figure, times, onsets, events, list(event_names) or sorted(set(events)))
    figure.update_layout(
        height=height or max(260, 110 + 26 * len(names)),
        margin=_MARGIN,
        xaxis={"title": {"text": "time (s)"}, "showgrid": False, "zeroline": False},
        yaxis={
            "tickvals": [-row for row in range(len(names))],
            "ticktext": list(names),
            "range": [-len(names) + 0.2, 0.8],
            "showgrid": False,
            "zeroline": False,
        },
        hovermode="closest",
        plot_bgcolor="rgba(0, 0, 0, 0)",
    )
    _add_scale_bar(figure, spacing, unit)
    return figure


def rounded(value: float) -> float:
    """Return the nearest of 1, 2 and 5 times a power of ten (at least 1e-12).

    Parameters
    ----------
    value : float
        Positive; 0 or NaN gives 1.
    """
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(max(value, 1e-12)))
    steps = np.array([1.0, 2.0, 5.0, 10.0]) * power
    return float(steps[np.argmin(np.abs(np.log(steps / value)))])


def spectra_figure(
    frequencies: np.ndarray,
    psd: np.ndarray,
    names: Sequence[str],
    *,
    band: tuple[float | None, float | None] | None = None,
    unit: str = "µV²/Hz",
    height: int = 340,
) -> go.Figure:
    """Draw the power spectral density of each channel and their median.

    Parameters
    ----------
    frequencies : ndarray, shape (n_frequencies,)
        Hz.
    psd : ndarray, shape (n_channels, n_frequencies)
        In `unit`.
    names : sequence of str
        Channels.
    band : (float or None, float or None), optional
        Band that is kept by a filter, shaded.
    unit : str
        Unit of `psd`.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        The vertical axis in decibels; frequency 0 is left out.
    """
    if psd.shape != (len(names), len(frequencies)):
        raise ValueError(
            f"psd has shape {psd.shape} for {len(names)} names and {len(frequencies)} frequencies"
        )
    kept = frequencies > 0
    with np.errstate(divide="ignore"):
        level = 10 * np.log10(psd[:, kept])
    level[~np.isfinite(level)] = np.nan
    figure = go.Figure()
    if band is not None:
        low = band[0] if band[0] is not None else float(frequencies[kept][0])
        high = band[1] if band[1] is not None else float(frequencies[-1])
        figure.add_vrect(x0=low, x1=high, fillcolor=faded(COLORS[1], 0.12), line={"width": 0})
    for row, name in enumerate(names):
        figure.add_trace(
            go.Scatter(
                x=frequencies[kept],
                y=level[row],
                mode="lines",
                line={"width": 1, "color": faded(COLORS[0], 0.35)},
                name=name,
                hovertemplate=f"{name}: %{{y:.1f}} dB<extra>%{{x:.1f}} Hz</extra>",
                showlegend=False,
            )
        )
    figure.add_trace(
        go.Scatter(
            x=frequencies[kept],
            y=_median(level),
            mode="lines",
            line={"width": 3, "color": COLORS[0]},
            name="median of the channels",
            hovertemplate="median: %{y:.1f} dB<extra>%{x:.1f} Hz</extra>",
        )
    )
    figure.update_layout(
        height=height,
        margin=_MARGIN,
        xaxis={"title": {"text": "frequency (Hz)"}, "showgrid": False},
        yaxis={"title": {"text": f"dB of 1 {unit}"}},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    return figure


def head_figure(
    points: np.ndarray,
    names: Sequence[str],
    *,
    chosen: Sequence[str] = (),
    height: int = 420,
) -> go.Figure:
    """Draw sensors on the head, seen from above, nose up.

    Parameters
    ----------
    points : ndarray, shape (n_sensors, 2)
        In the plane, the rim of the head near 1; sensors with NaN are left out. See
        :class:`hypeeg.eeg.positions.SensorPositions`.
    names : sequence of str
        Sensors.
    chosen : sequence of str
        Sensors that stand out.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        Each sensor carries its name as ``customdata``.
    """
    known = np.flatnonzero(np.isfinite(points).all(axis=1)).tolist()
    figure = go.Figure()
    angle = np.linspace(0, 2 * np.pi, 121)
    outline = [(np.cos(angle), np.sin(angle))]
    outline.append((np.array([-0.12, 0.0, 0.12]), np.array([0.993, 1.13, 0.993])))
    for side in (-1, 1):
        bow = np.linspace(-0.9, 0.9, 15)
        outline.append((side * (1.0 + 0.08 * np.cos(bow * np.pi / 1.8)), 0.22 * bow))
    for x, y in outline:
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": NEUTRAL, "width": 1.6, "shape": "spline"},
                fill="toself" if len(x) == 121 else None,
                fillcolor=FAINTEST,
                hoverinfo="skip",
                showlegend=False,
                name="head",
            )
        )
    for group, color, label in ((True, COLORS[5], "shown above"), (False, COLORS[0], "sensors")):
        rows = [k for k in known if (names[k] in chosen) == group]
        if not rows:
            continue
        figure.add_trace(
            go.Scatter(
                x=points[rows, 0],
                y=points[rows, 1],
                mode="markers+text" if len(known) <= 80 else "markers",
                text=[names[k] for k in rows],
                customdata=[names[k] for k in rows],
                textposition="bottom center",
                textfont={"size": 11 if len(known) <= 40 else 9, "color": NEUTRAL},
                marker={"size": 9 if len(known) <= 80 else 6, "color": color},
                hovertemplate="%{customdata}<extra></extra>",
                showlegend=False,
                name=label,
            )
        )
    reach = 1.2
    if len(known):
        reach = max(reach, 1.08 * float(np.abs(points[known]).max()))
    axis = {"visible": False, "range": [-reach, reach], "constrain": "domain"}
    figure.update_layout(
        height=height,
        margin={"l": 0, "r": 0, "t": 8, "b": 8},
        xaxis=axis,
        yaxis={**axis, "scaleanchor": "x", "scaleratio": 1},
        hovermode="closest",
        dragmode=False,
        plot_bgcolor="rgba(0, 0, 0, 0)",
    )
    return figure


def balance_figure(
    counts: pd.DataFrame, expected: Mapping[str, int] | None = None, *, height: int | None = None
) -> go.Figure:
    """Draw how many trials of each class there are in each part of a data set.

    Parameters
    ----------
    counts : DataFrame
        Columns ``part`` (such as ``"subject 1 · session 0"``), ``event`` and ``trials``.
    expected : mapping of str to int, optional
        Trials that each part should hold of an event, written where they differ.
    height : int, optional
        Pixels; by default enough for the parts.

    Returns
    -------
    plotly.graph_objects.Figure
        One bar a part, one colour an event.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    if counts.empty:
        raise ValueError("there are no trials to count")
    parts = list(dict.fromkeys(counts["part"]))
    figure = go.Figure()
    for number, (event, own) in enumerate(counts.groupby("event", sort=False)):
        wanted = (expected or {}).get(str(event))
        texts = [
            f"{n} of {wanted}" if wanted is not None and n != wanted else f"{n}"
            for n in own["trials"]
        ]
        figure.add_trace(
            go.Bar(
                y=own["part"],
                x=own["trials"],
                orientation="h",
                name=str(event),
                text=texts,
                textangle=0,
                insidetextanchor="middle",
                marker={
                    "color": COLORS[number % len(COLORS)],
                    "pattern": {"shape": "/" if number >= len(COLORS) else ""},
                    "line": {"width": 0},
                },
                hovertemplate=f"%{{y}}<br>{event}: %{{text}} trials<extra></extra>",
            )
        )
    figure.update_layout(
        barmode="stack",
        bargap=0.25,
        height=height or max(180, 110 + 30 * len(parts)),
        margin=_MARGIN,
        xaxis={"title": {"text": "trials"}, "gridcolor": FAINT},
        yaxis={"autorange": "reversed", "type": "category"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "traceorder": "normal"},
    )
    return figure


def _median(level: np.ndarray) -> np.ndarray:
    """Median over channels, NaN where no channel has power."""
    some = np.isfinite(level).any(axis=0)
    median = np.full(level.shape[1], np.nan)
    median[some] = np.nanmedian(level[:, some], axis=0)
    return median


def _add_events(
    figure: go.Figure,
    times: np.ndarray,
    onsets: Sequence[float] | np.ndarray,
    events: Sequence[str] | np.ndarray,
    names: list[str],
) -> None:
    if not len(times):
        return
    shown = [
        (t, e) for t, e in zip(onsets, events, strict=True) if times[0] <= float(t) <= times[-1]
    ]
    for onset, event in shown:
        # The first colour is that of the signals.
        color = COLORS[1 + names.index(str(event)) % (len(COLORS) - 1)]
        figure.add_vline(x=float(onset), line={"color": color, "width": 1.5})
        if len(shown) <= _MAX_EVENT_LABELS:
            figure.add_annotation(
                x=float(onset),
                y=1.0,
                yref="paper",
                yanchor="bottom",
                xanchor="left",
                text=str(event),
                showarrow=False,
                font={"color": color, "size": 12},
            )


def _add_scale_bar(figure: go.Figure, spacing: float, unit: str) -> None:
    figure.add_annotation(
        x=1.0,
        y=1.0,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        text=f"rows {spacing:g} {unit} apart",
        showarrow=False,
        font={"color": NEUTRAL, "size": 12},
    )
