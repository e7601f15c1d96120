"""Use of a network that a run kept: load it, and predict new trials from files.

A run keeps networks under ``models/`` (``save.models``) with the steps they were trained behind.
Classical pipelines are not kept: they are fitted again in seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hypeeg.eeg.own_data import natural
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.spec import slug
from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)


def load(
    run: str | Path,
    pipeline: str | None = None,
    *,
    network: str | None = None,
    device: str = "auto",
) -> Pipeline:
    """Load a trained network of a run, with the steps it was trained behind.

    Parameters
    ----------
    run : str or Path
        Run folder; or, of those under ``runs``, the name, its beginning, or ``last``.
    pipeline : str, optional
        Which; by default the only one that is kept, or the only one that is neither a twin nor a
        variant of another.
    network : str, optional
        Folder under ``models/<pipeline>``, such as ``"subject-1_session-0_fold-0_seed-0"``; by
        default the last of them (the only one with ``save.models: last``).  It was trained on the
        training trials of that fold alone.
    device : str
        Where the network computes: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted.  Takes trials (n_trials, n_channels, n_times) as
        :func:`hypeeg.eeg.datasets.load_epochs` gives them, in microvolts, filtered and cut as the
        run's preprocessing says.

    Raises
    ------
    SpecError
        If the run does not keep such a network; the message says which it keeps.
    RecordError, ValueError
        If what is kept is damaged, or a step the network was trained behind could not be kept.

    Examples
    --------
    >>> model = hypeeg.load("runs/quickstart-20261122T120000Z")  # doctest: +SKIP
    >>> model.predict(X)  # doctest: +SKIP
    """
    from hypeeg.experiments.saved import load_pipeline

    recorded = RecordedRun.open(run)
    folder = network_folder(recorded, pipeline, network)
    logger.info("loading %s", folder)
    return load_pipeline(folder, device=device)


def network_folder(
    run: RecordedRun, pipeline: str | None = None, network: str | None = None
) -> Path:
    """Return the folder of one kept network; see :func:`load` for what is chosen."""
    kept = kept_networks(run)
    if not kept:
        keep = run.section("save").get("models", "last")
        why = (
            "save.models is none; run it again with --set save.models=last"
            if keep == "none"
            else f"networks are kept when their fold ends, and the run is {run.state}; classical "
            "pipelines are not kept at all"
        )
        raise SpecError([Problem("models", f"the run keeps no network: {why}")], run.name)
    if pipeline is None:
        about = [p.name for p in run.pipelines if p.twin_of is None and p.variant_of is None]
        chosen = list(kept) if len(kept) == 1 else [name for name in kept if name in about]
        if len(chosen) != 1:
            message = f"the run keeps {', '.join(kept)}; say which to use"
            raise SpecError([Problem("pipeline", message)], run.name)
        pipeline = chosen[0]
    if pipeline not in kept:
        classical = any(p.name == pipeline and p.is_classical for p in run.pipelines)
        why = " (classical pipelines are not kept; fit them again)" if classical else ""
        message = (
            f"the run keeps no network of {pipeline!r}{why}; it keeps {', '.join(kept)}."
            f"{did_you_mean(pipeline, kept)}"
        )
        raise SpecError([Problem("pipeline", message)], run.name)
    folders = kept[pipeline]
    if network is None:
        return folders[-1]
    for folder in folders:
        if folder.name == network:
            return folder
    names = [folder.name for folder in folders]
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    message = f"{pipeline} has no network {network!r}; it has {listed}."
    raise SpecError([Problem("network", message + did_you_mean(network, names))], run.name)


def kept_networks(run: RecordedRun) -> dict[str, list[Path]]:
    """Return the folders of kept networks by pipeline, in the order of subjects and folds."""
    found = {}
    for pipeline in run.pipelines:
        parent = run.path / "models" / slug(pipeline.name)
        # Folders whose name begins with a dot were being written when the run ended.
        configs = [p for p in parent.glob("*/config.json") if not p.parent.name.startswith(".")]
        folders = [path.parent for path in configs]
        if folders:
            found[pipeline.name] = sorted(folders, key=lambda folder: natural(folder.name))
    return found


def predict_files(
    run: str | Path,
    files: Sequence[str | Path],
    pipeline: str | None = None,
    *,
    network: str | None = None,
    labels: Mapping[str, str] | None = None,
    every: float | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Predict the trials in files; see :func:`hypeeg.experiments.trial_files.read_trials`.

    Every file is predicted as one block.  A network that adapts to the block it is given (domain
    batch norm, alignment to the block) takes each file for one domain.

    Parameters
    ----------
    run : str or Path
        Run folder.
    files : sequence of str or Path
        Arrays, epochs or recordings.
    pipeline, network, device
        As in :func:`load`.
    labels : mapping of str to str, optional
        Event that a mark in a recording stands for.
    every : float, optional
        Seconds between the starts of trials in recordings without marks.

    Returns
    -------
    DataFrame
        One row a trial: ``file``, ``trial`` (position in the file), ``onset`` (seconds in the
        recording of the mark or window; NaN if not known), ``label`` (empty if not known),
        ``prediction``, and ``p_<class>``, the probability of each class.

    Raises
    ------
    SpecError
        As in :func:`load`.
    DataError
        If a file cannot be read, or its trials do not fit the network.
    """
    from hypeeg.experiments.trial_files import read_trials

    recorded = RecordedRun.open(run)
    model = load(recorded.path, pipeline, network=network, device=device)
    final = model.steps[-1][1]
    classes = [str(name) for name in model.classes_]
    parts = []
    for path in map(Path, files):
        trials = read_trials(path, recorded, final, labels=labels or {}, every=every)
        proba = model.predict_proba(trials.X)
        part = pd.DataFrame(
            {
                "file": str(path),
                "trial": np.arange(len(trials.X)),
                "onset": trials.onset,
                "label": trials.label,
                "prediction": [classes[k] for k in np.argmax(proba, axis=1)],
            }
        )
        for column, name in enumerate(classes):
            part[f"p_{name}"] = proba[:, column]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def parse_labels(given: Sequence[str]) -> dict[str, str]:
    """Read ``MARK=EVENT`` as a mapping.

    Raises
    ------
    SpecError
        If one has no equals sign.
    """
    found = {}
    for text in given:
        mark, equals, event = text.rpartition("=")
        if not (equals and mark.strip() and event.strip()):
            message = f"got {text!r}; write MARK=EVENT such as T1=left_hand"
            raise SpecError([Problem("--label", message)], "hypeeg predict")
        found[mark.strip()] = event.strip()
    return found
