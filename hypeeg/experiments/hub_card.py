"""What a shared model says of itself: facts for hypeeg, a card for people."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypeeg
from hypeeg.eeg.errors import DataError
from hypeeg.experiments import report
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.run_index import failures
from hypeeg.experiments.saved import CONFIG_FILE
from hypeeg.experiments.spec import slug
from hypeeg.experiments.store import RunFolder
from hypeeg.experiments.yaml_io import format_yaml

if TYPE_CHECKING:
    from hypeeg.eeg.manifest import Manifest

logger = logging.getLogger(__name__)


def model_facts(
    run: RecordedRun, pipeline: str, folder: Path, is_classical: bool
) -> tuple[dict[str, Any], bytes | None]:
    """Gather what ``hypeeg.json`` says.

    Parameters
    ----------
    run : RecordedRun
        The run that keeps the model.
    pipeline : str
        Its name.
    folder : Path
        The kept model.
    is_classical : bool
        Whether it is a classical pipeline.

    Returns
    -------
    facts : dict
        JSON-ready, without the list of files; no path of this machine is in it.
    dataset : bytes or None
        Manifest of the data set, if it is not one of hypeeg's and can be read.
    """
    from hypeeg.eeg.manifest import load_manifest

    spec = next(p for p in run.pipelines if p.name == pipeline)
    section = dict(run.section("dataset"))
    manifest: Manifest | None = None
    try:
        manifest = load_manifest(run.dataset)
    except (DataError, ValueError, OSError) as error:
        logger.warning(
            "the manifest of %s cannot be read, so that the model will predict from arrays only "
            "(%s)",
            run.dataset,
            error,
        )
    own = manifest is not None and manifest.own is not None
    if manifest is not None:
        section["name"] = manifest.name
    elif Path(run.dataset).suffix:
        section["name"] = Path(run.dataset).stem
    facts: dict[str, Any] = {
        "hypeeg": hypeeg.__version__,
        "kind": "classical" if is_classical else "network",
        "pipeline": pipeline,
        "model": spec.model,
        "params": spec.params,
        "description": str(run.spec.get("description") or "").strip(),
        "run": run.title,
        "evaluation": dict(run.section("evaluation")),
        "dataset": section,
        "preprocessing": dict(run.section("preprocessing")),
        "source": {} if manifest is None else _source(manifest),
        "trials": trial_facts(run, folder, is_classical),
        "fold": folder.name,
        "scores": _scores(run, pipeline, folder.name),
        "packages": run.environment.get("packages", {}),
    }
    return facts, _portable(manifest) if own and manifest is not None else None


def trial_facts(run: RecordedRun, folder: Path, is_classical: bool) -> dict[str, Any]:
    """Return classes and shape of the trials that a kept model takes.

    Parameters
    ----------
    run : RecordedRun
        The run.
    folder : Path
        The kept model.
    is_classical : bool
        Classical pipelines do not know: the run's ``data.json`` does.

    Returns
    -------
    dict
        ``classes``, ``n_chans``, ``n_times``, ``sfreq`` (Hz) and ``ch_names``; None where not
        known.
    """
    if is_classical:
        data = run.data
        shape = data.get("shape") or [None, None, None]
        return {
            "classes": sorted(data.get("classes") or {}),
            "n_chans": shape[1],
            "n_times": shape[2],
            "sfreq": data.get("sfreq"),
            "ch_names": data.get("ch_names"),
        }
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    state = config.get("state", {})
    return {
        "classes": [str(name) for name in config["classes"]["values"]],
        "n_chans": state.get("n_chans_"),
        "n_times": state.get("n_times_"),
        "sfreq": state.get("sfreq_"),
        "ch_names": state.get("ch_names_"),
    }


def _source(manifest: Manifest) -> dict[str, Any]:
    citation = manifest.citation
    return {
        "title": manifest.title,
        "licence": manifest.licence,
        # What one's own recordings have by default is no reference.
        "citation": None if citation.text == "own recordings" else citation.text,
        "doi": citation.doi,
        "url": citation.url,
    }


def _scores(run: RecordedRun, pipeline: str, fold: str) -> dict[str, Any]:
    """Return what the run found for a pipeline, and for the fold that the model is from."""
    mine = run.scores[run.scores["pipeline"] == pipeline] if len(run.scores) else run.scores
    if mine.empty:
        return {}
    row = report.summarise(mine).iloc[0]
    found: dict[str, Any] = {
        "scoring": run.scoring,
        "mean": float(row["mean"]),
        "std": float(row["std"]),
        "over": str(row["spread"]),
        "n_sessions": int(row["n_units"]),
        "n_scores": len(mine),
        "n_subjects": int(mine["subject"].nunique()),
        "accuracy": float(row["accuracy"]),
        "accuracy_interval": [float(row["accuracy_low"]), float(row["accuracy_high"])],
        "chance": 1.0 / int(mine["n_classes"].max()),
        "curvature": None if math.isnan(row["curvature"]) else float(row["curvature"]),
        "n_failed": sum(r["pipeline"] == pipeline for r in failures(run.path)),
    }
    for record in RunFolder(run.path).folds.latest():
        if record["pipeline"] == pipeline and _fold_name(record) == fold:
            found["of_fold"] = [float(score["score"]) for score in record.get("scores", [])]
            found["n_train"] = record.get("n_train")
            found["c"] = record.get("curvature")
    return found


def _fold_name(record: Mapping[str, Any]) -> str:
    """Return the folder that :func:`hypeeg.experiments.active.model_folder` gives a task."""
    session = "" if record["session"] is None else f"_session-{slug(record['session'])}"
    return f"subject-{record['subject']}{session}_fold-{record['fold']}_seed-{record['seed']}"


def _portable(manifest: Manifest) -> bytes:
    """Return a manifest of one's own recordings without the places where they lie."""
    content = manifest.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    given = manifest.own
    assert given is not None
    own = dict(content["own"])
    own.pop("base", None)
    if "bids" in own:
        own["bids"] = "bids"
    if "arrays" in own:
        own["arrays"] = "arrays.npz"
    if "recordings" in own:
        own["recordings"] = "{subject}_{label}.edf" if given.whole_files else "{subject}.edf"
    if own.get("labels_from") not in (None, "name", "annotations"):
        own["labels_from"] = "annotations"
        own.setdefault("interval", list(manifest.interval))
    content["own"] = own
    # What is otherwise read from headers, which are not there where the model goes.
    content |= {
        "subjects": list(manifest.subjects),
        "sessions": list(manifest.sessions),
        "channels": manifest.channels.model_dump(mode="json"),
        "sfreq": manifest.sfreq,
    }
    content.pop("files", None)
    return format_yaml(content).encode("utf-8")


def model_card(facts: Mapping[str, Any], licence: str | None = None) -> str:
    """Write the card of a model.

    Parameters
    ----------
    facts : mapping
        See :func:`model_facts`.
    licence : str, optional
        Of the weights.

    Returns
    -------
    str
        Markdown behind a block of YAML, as the Hugging Face Hub reads it.
    """
    source, trials, scores = facts["source"], facts["trials"], facts["scores"]
    data = source.get("title") or facts["dataset"].get("name")
    kind = "network" if facts["kind"] == "network" else "classical pipeline"
    parts = [
        f"---\n{format_yaml(_header(facts, licence)).strip()}\n---",
        f"# {facts['pipeline']}: {facts['model']} on {facts['dataset'].get('name')}",
        f"A {kind} fitted by hypeeg {facts['hypeeg']} in the "
        f"run `{facts['run']}`, on the training trials of one fold: `{facts['fold']}`.",
        facts["description"],
        "## Load",
        _how_to_load(facts),
        "## Trials",
        f"Data: {data}.",
        f"Classes: {', '.join(trials['classes'])}. {_shape(trials)} In microvolts, in this "
        "preprocessing:",
        f"```yaml\n{format_yaml(dict(facts['preprocessing'])).strip() or '{}'}\n```",
        "## Scores",
        *_score_parts(facts, scores),
        "## Licence and citation",
        *_licence_parts(source, licence),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(facts: Mapping[str, Any], licence: str | None) -> dict[str, Any]:
    scores = facts["scores"]
    tags = ["eeg", "brain-computer-interface", "hypeeg", facts["model"]]
    header: dict[str, Any] = {"tags": tags, "library_name": "hypeeg"}
    if facts["kind"] == "network":
        header = {"tags": ["braindecode", *tags], "library_name": "braindecode"}
    if licence is not None:
        header["license"] = licence
    if scores:
        name = facts["dataset"].get("name")
        metric = {
            "type": scores["scoring"],
            "value": round(scores["mean"], 4),
            "name": f"{scores['scoring']}, mean over {scores['n_sessions']} sessions",
        }
        header["model-index"] = [
            {
                "name": facts["pipeline"],
                "results": [
                    {
                        "task": {"type": "eeg-classification"},
                        "dataset": {"type": str(name), "name": str(name)},
                        "metrics": [metric],
                    }
                ],
            }
        ]
    return header


def _how_to_load(facts: Mapping[str, Any]) -> str:
    lines = [
        "```python",
        "import hypeeg",
        "",
        'model = hypeeg.load("path/to/this/folder")  # fitted, scikit-learn style',
        "model.predict_proba(X)  # X: (n_trials, n_channels, n_times)",
        "```",
        "",
        "`hypeeg predict path/to/this/folder recording.edf` filters and cuts a recording as the "
        "run did.",
    ]
    if facts["kind"] == "network":
        lines += [
            "",
            "The network alone, without standardisation and classes "
            "(needs `pip install huggingface_hub`):",
            "",
            "```python",
            "from hypeeg.eeg.models.registry import get_model_class",
            "",
            f'network = get_model_class("{facts["model"]}").from_pretrained("path/to/this/folder")',
            "```",
        ]
    return "\n".join(lines)


def _shape(trials: Mapping[str, Any]) -> str:
    rate = f" at {trials['sfreq']:g} Hz" if trials["sfreq"] else ""
    names = f" ({', '.join(trials['ch_names'])})" if trials["ch_names"] else ""
    return f"{trials['n_chans']} channels{names}, {trials['n_times']} samples{rate}."


def _score_parts(facts: Mapping[str, Any], scores: Mapping[str, Any]) -> Sequence[str]:
    if not scores:
        return ["The run has no score of this pipeline."]
    std = "" if scores["std"] is None or math.isnan(scores["std"]) else f" ± {scores['std']:.3f}"
    low, high = scores["accuracy_interval"]
    kind = str(facts["evaluation"].get("kind", "")).replace("_", " ")
    rows = [
        ["evaluation", "score", "mean ± std", "sessions", "subjects", "fits", "accuracy [95 % CI]"],
        [
            kind,
            scores["scoring"],
            f"{scores['mean']:.3f}{std}",
            str(scores["n_sessions"]),
            str(scores["n_subjects"]),
            str(scores["n_scores"]),
            f"{scores['accuracy']:.3f} [{low:.2f}, {high:.2f}]",
        ],
    ]
    table = report.markdown_table(rows[0], rows[1:])
    words = (
        f"The table is of the pipeline, fitted anew on each fold; std over {scores['over']}. "
        f"Chance accuracy with classes of equal size is {scores['chance']:.3f}."
    )
    if scores.get("of_fold"):
        own = ", ".join(f"{score:.3f}" for score in scores["of_fold"])
        words += (
            f" This model, trained on {scores['n_train']} trials, scored {own} on the test trials "
            "of its own fold: one fold is little evidence."
        )
    if scores.get("c") is not None:
        words += f" Its space has curvature -{scores['c']:.4g}."
    if scores["n_failed"]:
        words += f" {scores['n_failed']} folds failed and are left out."
    return [table, words]


def _licence_parts(source: Mapping[str, Any], licence: str | None) -> Sequence[str]:
    own = "No licence was given for the weights." if licence is None else f"Weights: {licence}."
    parts = [f"{own} Recordings: {source.get('licence') or 'licence not known'}."]
    if source.get("citation"):
        link = source.get("doi")
        where = f" https://doi.org/{link}" if link else f" {source.get('url') or ''}".rstrip()
        parts.append(f"Cite the data set: {source['citation']}.{where}")
    return parts
