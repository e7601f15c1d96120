"""Use of a model that a run kept: load it, and predict new trials from files.

A run keeps models under ``models/`` (``save.models``): networks with the steps they were trained
behind, and classical pipelines where skops is installed.  A folder that ``hypeeg push`` wrote is
used in the same way.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from hypeeg.eeg.own_data import natural
from hypeeg.experiments import hub, saved
from hypeeg.experiments.classical import MODEL_FILE, REMEDY, can_keep
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.spec import slug
from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)

TableFormat = Literal["csv", "parquet", "json"]
"""What predictions are written as; json holds one object a line."""


@dataclass(frozen=True)
class TrialShape:
    """What trials a model takes, under the names that :class:`hypeeg.HypEEGClassifier` has.

    Attributes
    ----------
    classes_ : ndarray of str
        Classes.
    n_chans_, n_times_ : int
        Channels and samples.
    sfreq_ : float or None
        Sampling rate in Hz, if known.
    ch_names_ : list of str or None
        Channels, if known.
    """

    classes_: np.ndarray
    n_chans_: int
    n_times_: int
    sfreq_: float | None = None
    ch_names_: list[str] | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> TrialShape:
        """Make one of what :func:`hypeeg.experiments.hub_card.trial_facts` returns."""
        return cls(
            np.asarray(facts["classes"], dtype=str),
            facts["n_chans"],
            facts["n_times"],
            facts["sfreq"],
            facts["ch_names"],
        )


def load(
    run: str | Path,
    pipeline: str | None = None,
    *,
    network: str | None = None,
    device: str = "auto",
) -> Pipeline:
    """Load a fitted model of a run, with the steps it was trained behind.

    Parameters
    ----------
    run : str or Path
        Run folder, or a folder that ``hypeeg push`` wrote; or, of the runs under ``runs``, the
        name, its beginning, or ``last``.
    pipeline : str, optional
        Which; by default the only one that is kept, or the only network that is neither a twin nor
        a variant of another.
    network : str, optional
        Folder under ``models/<pipeline>``, such as ``"subject-1_session-0_fold-0_seed-0"``; by
        default the last of them (the only one with ``save.models: last``).  It was trained on the
        training trials of that fold alone.
    device : str
        Where a network computes: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted.  Takes trials (n_trials, n_channels, n_times) as
        :func:`hypeeg.eeg.datasets.load_epochs` gives them, in microvolts, filtered and cut as the
        run's preprocessing says.

    Raises
    ------
    SpecError
        If the run does not keep such a model; the message says which it keeps.
    RecordError, ValueError
        If what is kept is damaged, or a step the network was trained behind could not be kept.

    Examples
    --------
    >>> model = hypeeg.load("runs/quickstart-20261122T120000Z")  # doctest: +SKIP
    >>> model.predict(X)  # doctest: +SKIP
    """
    folder = _open(run, pipeline, network)[0]
    logger.info("loading %s", folder)
    return saved.load_pipeline(folder, device=device)


def _open(
    run: str | Path, pipeline: str | None, network: str | None
) -> tuple[Path, RecordedRun | hub.PublishedModel]:
    """Return the folder of the model that is meant, and what tells how its trials are made."""
    if not hub.is_published(run):
        recorded = RecordedRun.open(run)
        return network_folder(recorded, pipeline, network), recorded
    model = hub.PublishedModel.open(run)
    for field, given, own in (
        ("pipeline", pipeline, model.name),
        ("network", network, str(model.facts.get("fold", ""))),
    ):
        if given is not None and given != own:
            message = f"the folder holds {own}, not {given!r}; leave it out"
            raise SpecError([Problem(field, message)], str(run))
    return model.path, model


def network_folder(
    run: RecordedRun, pipeline: str | None = None, network: str | None = None
) -> Path:
    """Return the folder of one kept model; see :func:`load` for what is chosen."""
    kept = kept_models(run)
    if not kept:
        keep = run.section("save").get("models", "last")
        why = (
            "save.models is none; run it again with --set save.models=last"
            if keep == "none"
            else f"models are kept when their fold ends, and the run is {run.state}"
            + ("" if can_keep() else f"; classical pipelines are kept with skops only: {REMEDY}")
        )
        raise SpecError([Problem("models", f"the run keeps no model: {why}")], run.name)
    if pipeline is None:
        pipeline = _chosen(run, kept)
    if pipeline not in kept:
        classical = any(p.name == pipeline and p.is_classical for p in run.pipelines)
        why = f" (classical pipelines are kept with skops only: {REMEDY})" if classical else ""
        message = (
            f"the run keeps no model of {pipeline!r}{why}; it keeps {', '.join(kept)}."
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
    message = f"{pipeline} has no model {network!r}; it has {listed}."
    raise SpecError([Problem("network", message + did_you_mean(network, names))], run.name)


def _chosen(run: RecordedRun, kept: Mapping[str, list[Path]]) -> str:
    """Return the pipeline that is meant where none is named."""
    subject_of_run = [p for p in run.pipelines if p.twin_of is None and p.variant_of is None]
    networks = [p.name for p in subject_of_run if not p.is_classical and p.name in kept]
    for names in (list(kept), networks):
        if len(names) == 1:
            return names[0]
    message = f"the run keeps {', '.join(kept)}; say which to use"
    raise SpecError([Problem("pipeline", message)], run.name)


def kept_models(run: RecordedRun) -> dict[str, list[Path]]:
    """Return the folders of kept models by pipeline, in the order of subjects and folds."""
    found = {}
    for pipeline in run.pipelines:
        parent = run.path / "models" / slug(pipeline.name)
        # Folders whose name begins with a dot were being written when the run ended.
        configs = [p for p in parent.glob("*/config.json") if not p.parent.name.startswith(".")]
        folders = [path.parent for path in configs]
        if folders:
            found[pipeline.name] = sorted(folders, key=lambda folder: natural(folder.name))
    return found


def kept_networks(run: RecordedRun) -> dict[str, list[Path]]:
    """Return what :func:`kept_models` does, of networks alone."""
    return {
        name: folders
        for name, folders in kept_models(run).items()
        if not (folders[0] / MODEL_FILE).is_file()
    }


def _trial_shape(
    model: Pipeline, folder: Path, source: RecordedRun | hub.PublishedModel
) -> TrialShape | Any:
    """Return what says which trials a model takes."""
    if not (folder / MODEL_FILE).is_file():
        return saved.last_step(model)
    if isinstance(source, hub.PublishedModel):
        return TrialShape.of(source.facts["trials"])
    from hypeeg.experiments.hub_card import trial_facts

    return TrialShape.of(trial_facts(source, folder, is_classical=True))


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
        Run folder, or one that ``hypeeg push`` wrote.
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
        ``prediction``, and ``p_<class>``, the probability of each class, where the model gives
        probabilities.

    Raises
    ------
    SpecError
        As in :func:`load`.
    DataError
        If a file cannot be read, or its trials do not fit the network.
    """
    from hypeeg.experiments.trial_files import read_trials

    folder, source = _open(run, pipeline, network)
    logger.info("loading %s", folder)
    model = saved.load_pipeline(folder, device=device)
    shape = _trial_shape(model, folder, source)
    classes = [str(name) for name in model.classes_]
    parts = []
    for path in map(Path, files):
        trials = read_trials(path, source, shape, labels=labels or {}, every=every)
        # As the run that scored it did: a support vector machine has classes but no probabilities.
        gives = hasattr(model, "predict_proba")
        proba = model.predict_proba(trials.X) if gives else np.empty((len(trials.X), 0))
        predicted = (
            [classes[k] for k in np.argmax(proba, axis=1)] if gives else model.predict(trials.X)
        )
        part = pd.DataFrame(
            {
                "file": str(path),
                "trial": np.arange(len(trials.X)),
                "onset": trials.onset,
                "label": trials.label,
                "prediction": [str(name) for name in predicted],
            }
        )
        for column, name in enumerate(classes if gives else ()):
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


def table_format(given: str | None, target: Path | None) -> TableFormat:
    """Return the format of a table: as said, else by the name of the file, else CSV.

    Raises
    ------
    SpecError
        If there is no such format, or Parquet has no file to go to.
    """
    known = get_args(TableFormat)
    suffix = "" if target is None else target.suffix.lower().lstrip(".")
    name = given or {"jsonl": "json"}.get(suffix, suffix if suffix in known else "csv")
    if name not in known:
        message = f"got {given!r}; it may be {', '.join(known)}.{did_you_mean(name, known)}"
        raise SpecError([Problem("--format", message)], "hypeeg predict")
    if name == "parquet" and target is None:
        message = "parquet is no text; name a file with --to"
        raise SpecError([Problem("--format", message)], "hypeeg predict")
    return name  # type: ignore[return-value]


def encode_table(table: pd.DataFrame, kind: TableFormat) -> bytes:
    """Write a table of predictions as bytes.

    Parameters
    ----------
    table : DataFrame
        From :func:`predict_files`.
    kind : {"csv", "parquet", "json"}
        Format; json is one object a line.

    Returns
    -------
    bytes
    """
    if kind == "parquet":
        try:
            import pyarrow  # type: ignore[import-untyped]  # noqa: F401
        except ImportError as error:
            message = "parquet needs pyarrow; install the extra: pip install 'hypeeg[app]'"
            raise SpecError([Problem("--format", message)], "hypeeg predict") from error
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        return buffer.getvalue()
    if kind == "json":
        # Digits that give the same number again.
        return table.to_json(orient="records", lines=True, double_precision=15).encode("utf-8")
    return table.to_csv(index=False).encode("utf-8")
