"""What MLflow is sent of a run: one run, with a nested one for each pipeline."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from hypeeg.experiments.store import RecordError, replace_file, to_json, utc_now
from hypeeg.experiments.yaml_io import parse_yaml

logger = logging.getLogger(__name__)

EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
FILE = "mlflow.json"

STATES = {"done": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
"""MLflow's word for each final state of a run."""

ARTIFACTS = (
    *("spec_given.yaml", "spec_resolved.yaml", "environment.json", "data.json", "tasks.csv"),
    *("scores.csv", "summary.csv", "summary.md", "comparisons.csv", "measures.csv"),
    *("history.csv", "curvature_history.csv", "log.txt"),
)
"""Files of the run folder that are sent when the run ends, beside ``report.html``."""

# What MLflow takes at once, and at most.
_PARAMS_AT_ONCE = 100
_METRICS_AT_ONCE = 1000
_LONGEST_PARAM = 500
_KEYS = ("pipeline", "subject", "session", "fold", "seed", "epoch", "data_size", "permutation")


class MLflowError(RuntimeError):
    """A run could not be logged, or not wholly."""


class MLflowRun:
    """One run of hypeeg and its runs in MLflow; every call talks to the server.

    Parameters
    ----------
    uri : str
        Tracking server or store.
    folder : Path
        Run folder.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        self.uri = uri
        self.folder = folder
        self.run_id = ""
        self._experiment_id = ""
        self._children: dict[str, str] = {}
        self._client: Any = None
        self._gave_up = False

    def begin(self) -> None:
        """Open the run and a nested run for each pipeline; send what was asked for."""
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self.uri)
        spec = parse_yaml((self.folder / "spec_resolved.yaml").read_text(encoding="utf-8"))
        pipelines = [p for p in spec.get("pipelines") or [] if isinstance(p, dict)]
        if not self._reopen():
            name = os.environ.get(EXPERIMENT_VARIABLE, "").strip() or str(spec.get("name"))
            self._experiment_id = self._experiment(name)
            self.run_id = self._new_run(self.folder.resolve().name, _tags(self.folder, spec))
        for number, pipeline in enumerate(pipelines):
            name = str(pipeline.get("name", number))
            if name not in self._children:
                tags = {"mlflow.parentRunId": self.run_id, "hypeeg.pipeline": name}
                self._children[name] = self._new_run(name, tags)
            self._params(self._children[name], flatten(pipeline))
        own = {key: value for key, value in spec.items() if key != "pipelines"}
        self._params(self.run_id, flatten(own))
        self._write("logging")

    def _reopen(self) -> bool:
        """Go on with the run that an earlier attempt began, if it is there."""
        from mlflow.exceptions import MlflowException

        known = recorded_run(self.folder)
        if known.get("tracking_uri") != without_password(self.uri) or not known.get("run_id"):
            return False
        try:
            found = self._client.get_run(known["run_id"])
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            logger.info("MLflow knows run %s no more; a new one is begun", known["run_id"])
            return False
        if found.info.lifecycle_stage != "active":
            return False
        self.run_id, self._experiment_id = known["run_id"], found.info.experiment_id
        self._children = dict(known.get("pipelines") or {})
        for run_id in (self.run_id, *self._children.values()):
            self._client.update_run(run_id, status="RUNNING")
        return True

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:
                # Another run has made it in the meantime.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise MLflowError(
                f"experiment {name!r} was deleted in MLflow; restore it there, or name another "
                f"with {EXPERIMENT_VARIABLE}"
            )
        return str(found.experiment_id)

    def _new_run(self, name: str, tags: dict[str, str]) -> str:
        created = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
        return str(created.info.run_id)

    def add(self, record: Mapping[str, Any]) -> None:
        """Send one task's scores to the run of its pipeline."""
        run_id = self._children.get(str(record["pipeline"]), self.run_id)
        step, moment = int(record["task"]), _milliseconds(record.get("finished"))
        self._metrics(run_id, [(k, v, moment, step) for k, v in task_metrics(record).items()])

    def finish(self, state: str) -> None:
        """Send tables, histories and files; close the runs."""
        from hypeeg.experiments.recorded import RecordedRun

        run = RecordedRun.open(self.folder)
        moment = _milliseconds(run.status.get("finished"))
        for name, values in _summary(run.scores).items():
            run_id = self._children.get(name, self.run_id)
            self._metrics(run_id, [(k, v, moment, 0) for k, v in values.items()])
        for table in ("history", "curvature_history"):
            for name, points in _histories(run.table(table)).items():
                run_id = self._children.get(name, self.run_id)
                self._metrics(run_id, [(k, v, moment, step) for k, v, step in points])
        counts = {key: float(run.status.get(key) or 0) for key in ("n_done", "n_failed", "n_tasks")}
        self._metrics(self.run_id, [(k, v, moment, 0) for k, v in counts.items()])
        for file in ARTIFACTS:
            if (self.folder / file).is_file():
                self._client.log_artifact(self.run_id, str(self.folder / file))
        self._report(run)
        # An interrupted run is none of MLflow's states: nobody ended it.
        status = STATES.get(state, "KILLED")
        for run_id in (*self._children.values(), self.run_id):
            self._client.set_terminated(run_id, status=status)
        self._write("complete")

    def _report(self, run: Any) -> None:
        from hypeeg.experiments.spec_errors import SpecError

        with tempfile.TemporaryDirectory() as place:
            try:
                from hypeeg.experiments.html_report import write_report

                written = write_report([run], Path(place) / "report.html")
            except (ImportError, SpecError, RecordError) as error:
                logger.info("no report in MLflow: %s", error)
                return
            for path in written:
                self._client.log_artifact(self.run_id, str(path))

    def _params(self, run_id: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(_key(key), value[:_LONGEST_PARAM]) for key, value in values.items()]
        for some in _chunks(params, _PARAMS_AT_ONCE):
            self._client.log_batch(run_id, params=some)

    def _metrics(self, run_id: str, values: Sequence[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        points = [Metric(_key(k), v, t, step) for k, v, t, step in values if math.isfinite(v)]
        for some in _chunks(points, _METRICS_AT_ONCE):
            self._client.log_batch(run_id, metrics=some)

    def give_up(self, problem: Exception) -> str:
        """Write down what ended the logging; return it in words, without any password."""
        self._gave_up = True
        text = _hidden(f"{type(problem).__name__}: {problem}", self.uri)
        self._write("incomplete", problem=text)
        return (
            f"{without_password(self.uri)}: {text} (the run itself is not affected; "
            f"'hypeeg mlflow {self.folder}' logs it later)"
        )

    def _write(self, state: str, **more: Any) -> None:
        # A thread that is late must not undo what the run has already written of it.
        if self._gave_up and state != "incomplete":
            return
        content = {
            "tracking_uri": without_password(self.uri),
            "experiment_id": self._experiment_id,
            "run_id": self.run_id,
            "pipelines": self._children,
            "state": state,
            "at": utc_now(),
            **more,
        }
        replace_file(self.folder / FILE, (to_json(content, indent=2) + "\n").encode("utf-8"))


def task_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one task: the mean over its sessions where it has several.

    Parameters
    ----------
    record : mapping
        Line of ``folds.jsonl``.

    Returns
    -------
    dict of str to float
        Empty for a task that failed.
    """
    if record.get("status") != "done":
        return {}
    rows = record.get("scores") or []
    found = {key: record.get(key) for key in ("fit_time", "predict_time", "curvature", "n_train")}
    if rows:
        found["score"] = sum(row["score"] for row in rows) / len(rows)
        n_test = sum(row["n_test"] for row in rows)
        if n_test and all(row.get("n_correct") is not None for row in rows):
            found["accuracy"] = sum(row["n_correct"] for row in rows) / n_test
        for name in rows[0].get("measures") or {}:
            values = [row["measures"].get(name) for row in rows]
            if all(isinstance(value, int | float) for value in values):
                found[name] = sum(values) / len(values)
    return {k: float(v) for k, v in found.items() if isinstance(v, int | float)}


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested mappings as one, keys joined by dots, values as text.

    Parameters
    ----------
    value : mapping
        Plain data; lists stay whole, as JSON.
    prefix : str
        What every key begins with.

    Returns
    -------
    dict of str to str
    """
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= flatten(item, f"{prefix}{key}.")
        elif item is not None:
            text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
            found[f"{prefix}{key}"] = text
    return found


def without_password(uri: str) -> str:
    """Return an address without the name and password that it may hold."""
    user = urlsplit(uri).netloc.rpartition("@")[0]
    return uri.replace(f"{user}@", "", 1) if user else uri


def _hidden(text: str, uri: str) -> str:
    user = urlsplit(uri).netloc.rpartition("@")[0]
    if not user:
        return text
    password = user.partition(":")[2]
    text = text.replace(f"{user}@", "")
    return text.replace(password, "***") if password else text


def recorded_run(folder: Path) -> dict[str, Any]:
    """Return what ``mlflow.json`` of a run folder says, empty without it."""
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        logger.warning("%s: damaged (%s); a new run is begun in MLflow", path, error)
        return {}
    return value if isinstance(value, dict) else {}


def _tags(folder: Path, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return what a list of runs in MLflow can be searched by."""
    path = folder / "environment.json"
    environment = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    git = environment.get("git") or {}
    dataset = spec.get("dataset")
    tags = {
        "mlflow.source.name": "hypeeg",
        "mlflow.note.content": str(spec.get("description") or "").strip(),
        "mlflow.source.git.commit": git.get("commit"),
        "hypeeg.version": environment.get("hypeeg"),
        "hypeeg.kind": spec.get("kind") or "eeg",
        "hypeeg.dataset": dataset.get("name") if isinstance(dataset, dict) else None,
    }
    return {key: str(value) for key, value in tags.items() if value}


def _summary(scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return mean, spread and number of sessions of each pipeline."""
    from hypeeg.experiments.report import UNIT

    found: dict[str, dict[str, float]] = {}
    for name, own in scores.groupby("pipeline", sort=False) if len(scores) else ():
        units = own.groupby(UNIT)["score"].mean()
        found[str(name)] = {
            "score_mean": float(units.mean()),
            "score_std": float(units.std(ddof=1)) if len(units) > 1 else math.nan,
            "n_sessions": float(len(units)),
        }
    return found


def _histories(table: pd.DataFrame) -> dict[str, list[tuple[str, float, int]]]:
    """Return the mean over fits of every number of each epoch, by pipeline."""
    found: dict[str, list[tuple[str, float, int]]] = {}
    if table.empty:
        return found
    numbers = [c for c in table.select_dtypes("number").columns if c not in _KEYS]
    means = table.groupby(["pipeline", "epoch"], sort=True)[numbers].mean().reset_index()
    for row in means.to_dict("records"):
        points = found.setdefault(str(row["pipeline"]), [])
        points += [(f"epoch.{name}", float(row[name]), int(row["epoch"])) for name in numbers]
    return found


def _key(name: str) -> str:
    """Return a name that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]


def _milliseconds(text: Any) -> int:
    try:
        return int(datetime.fromisoformat(str(text)).timestamp() * 1000)
    except ValueError:
        return 0


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
