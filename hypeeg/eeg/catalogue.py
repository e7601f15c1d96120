"""Manifests of MOABB's datasets, written from MOABB's own classes and summary tables.

``python -m hypeeg.eeg.catalogue`` writes one manifest for each dataset of motor imagery, P300/ERP,
SSVEP, c-VEP and resting state into ``data_manifests/moabb/``; ``--check`` compares the files with
the installed MOABB instead. Nothing is invented: what MOABB does not say is left out or called
unknown, and where its sources contradict one another, a trap says so. Datasets with a manifest
written by hand are left alone. MOABB's compound datasets (selections of others) have none.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hypeeg.eeg.manifest import manifests_dir
from hypeeg.eeg.manifest_parts import UNKNOWN

# MOABB's word for a paradigm, and the band that its paradigm class takes by default.
_PARADIGMS = {
    "imagery": ("motor_imagery", {"fmin": 8, "fmax": 32}),
    "p300": ("p300", {"fmin": 1, "fmax": 24}),
    "ssvep": ("ssvep", {"fmin": 7, "fmax": 45}),
    "cvep": ("cvep", {"fmin": 1, "fmax": 45}),
    "rstate": ("resting_state", {"fmin": 1, "fmax": 35}),
}
_TABLES = ("imagery", "p300", "ssvep", "cvep", "rstate", "imagined_speech")
_FOLDER = "moabb"


def moabb_classes() -> list[type]:
    """MOABB's dataset classes that get a manifest, by name; simulated ones are left out."""
    from moabb.datasets.utils import dataset_list

    found = {cls.__name__: cls for cls in dataset_list if not cls.__name__.startswith("Fake")}
    return [found[name] for name in sorted(found, key=str.lower)]


def summary_rows() -> dict[str, tuple[str, dict[str, str]]]:
    """Rows of MOABB's summary tables, word for word.

    Returns
    -------
    dict of str to (str, dict)
        For each dataset class: the table and its row, without empty cells.
    """
    import moabb.datasets

    folder = Path(inspect.getfile(moabb.datasets)).parent
    rows: dict[str, tuple[str, dict[str, str]]] = {}
    for table in _TABLES:
        with (folder / f"summary_{table}.csv").open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, skipinitialspace=True):
                cells = {k.strip(): v.strip() for k, v in row.items() if k and v and v.strip()}
                rows[cells.pop("Dataset")] = (table, cells)
    return rows


def describe_class(cls: type, rows: dict[str, tuple[str, dict[str, str]]]) -> dict[str, Any]:
    """The manifest of one MOABB class, as plain data.

    Parameters
    ----------
    cls : type
        A class of ``moabb.datasets``.
    rows : dict
        From :func:`summary_rows`.

    Returns
    -------
    dict
        Fields of :class:`hypeeg.eeg.manifest.Manifest`.
    """
    import moabb

    dataset: Any = cls()
    metadata = dataset.metadata
    acquisition, documentation = metadata.acquisition, metadata.documentation
    table, row = rows.get(cls.__name__, (None, {}))
    paradigm, band = _PARADIGMS[dataset.paradigm]
    events = {str(name): {"code": _codes(code)} for name, code in dataset.event_id.items()}
    if set(events) == {"left_hand", "right_hand"}:
        paradigm = "left_right_imagery"
    sfreq = _number(acquisition.sampling_rate)
    content: dict[str, Any] = {
        "name": cls.__name__,
        "title": _title(cls, documentation),
        "moabb_class": cls.__name__,
        "paradigm": paradigm,
        "subjects": _subjects(dataset.all_subjects),
        "n_sessions": dataset.n_sessions,
        "events": events,
        "interval": [_number(value) for value in dataset.interval],
        "channels": _channels(acquisition),
        "sfreq": sfreq,
        "licence": documentation.license or UNKNOWN,
        "citation": _citation(dataset, documentation),
        "catalogue": {
            "moabb": moabb.__version__,
            **({"table": table, "row": row} if table else {}),
            "trials": _stated_trials(metadata),
        },
        "traps": list(_traps(cls, dataset, metadata, table, row)),
        "preprocessing": {k: v for k, v in band.items() if v < sfreq / 2},
    }
    if not content["catalogue"]["trials"]:
        del content["catalogue"]["trials"]
    if not content["traps"]:
        del content["traps"]
    return content


def manifest_text(content: dict[str, Any]) -> str:
    """A generated manifest as YAML.

    Parameters
    ----------
    content : dict
        From :func:`describe_class`.
    """
    rest = {key: value for key, value in content.items() if key != "name"}
    body = yaml.dump(
        rest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=99, default_flow_style=None
    )
    source = f"MOABB {content['catalogue']['moabb']}"
    return (
        f"name: {content['name']}\n"
        f"# Written by 'python -m hypeeg.eeg.catalogue' from {source}; not by hand.\n{body}"
    )


def generate() -> dict[str, str]:
    """File name and text of every generated manifest.

    Returns
    -------
    dict of str to str
    """
    by_hand = {path.stem.replace("_", "") for path in manifests_dir().glob("*.yaml")}
    rows = summary_rows()
    return {
        f"{cls.__name__.lower()}.yaml": manifest_text(describe_class(cls, rows))
        for cls in moabb_classes()
        if cls.__name__.lower().replace("_", "") not in by_hand
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the manifests, or compare them with the installed MOABB.

    Parameters
    ----------
    arguments : list of str or None
        Command line; None takes the process's.

    Returns
    -------
    int
        Exit code: 1 if ``--check`` found a difference.
    """
    parser = argparse.ArgumentParser(prog="python -m hypeeg.eeg.catalogue", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--out", type=Path, default=None, help="folder; data_manifests/moabb")
    chosen = parser.parse_args(arguments)
    folder: Path = chosen.out or manifests_dir() / _FOLDER
    texts = generate()
    here = {path.name: path for path in folder.glob("*.yaml")}
    if chosen.check:
        odd = sorted(set(texts) ^ set(here))
        odd += [n for n in texts if n in here and here[n].read_text(encoding="utf-8") != texts[n]]
        for name in odd:
            sys.stdout.write(f"{folder / name} differs from the installed MOABB\n")
        return int(bool(odd))
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in sorted(set(here) - set(texts)):
        here[name].unlink()
    sys.stdout.write(f"{len(texts)} manifests in {folder}\n")
    return 0


class _Dumper(yaml.SafeDumper):
    """Safe dumper that repeats values instead of writing anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _codes(code: Any) -> int | list[int]:
    return [int(c) for c in code] if isinstance(code, (list, tuple)) else int(code)


def _number(value: Any) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def _subjects(numbers: list[int]) -> str | list[int]:
    dense = len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}-{numbers[-1]}" if dense else [int(n) for n in numbers]


def _one_line(text: str) -> str:
    return " ".join(text.replace("\u200b", "").split())


def _title(cls: type, documentation: Any) -> str:
    text = documentation.description or (inspect.getdoc(cls) or cls.__name__).split("\n\n")[0]
    line = re.sub(r"\s*\[\d+\]_", "", _one_line(text))
    return line if len(line) <= 160 else line[:159].rsplit(" ", 1)[0] + " …"


def _channels(acquisition: Any) -> dict[str, Any]:
    channels: dict[str, Any] = {"count": int(acquisition.channel_types["eeg"])}
    names = [str(name) for name in acquisition.sensors or []]
    if len(set(names)) == len(names) == channels["count"]:
        channels["listed"] = names
    if acquisition.montage:
        channels["montage"] = str(acquisition.montage)
    return channels


def _citation(dataset: Any, documentation: Any) -> dict[str, str]:
    people = list(documentation.investigators or [])
    authors = ", ".join(people[:4]) + (" et al." if len(people) > 4 else "")
    year = f" ({documentation.publication_year})" if documentation.publication_year else ""
    doi = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", dataset.doi or documentation.doi or "")
    citation = {"text": f"{authors or UNKNOWN}{year}"}
    if documentation.repository:
        citation["text"] += f", {documentation.repository}"
    if doi:
        citation["doi"] = doi
    if documentation.data_url:
        citation["url"] = documentation.data_url
    return citation


def _stated_trials(metadata: Any) -> dict[str, str]:
    """Trial counts in the metadata, as text: their units differ from class to class."""
    structure, experiment = metadata.data_structure, metadata.experiment
    stated = {
        "n_trials": getattr(structure, "n_trials", None),
        "n_trials_per_class": getattr(structure, "n_trials_per_class", None),
        "trials_per_class": getattr(experiment, "trials_per_class", None),
        "trials_context": getattr(structure, "trials_context", None),
    }
    return {key: _plain(value) for key, value in stated.items() if value}


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_one_line(str(count))}" for key, count in value.items())
    return _one_line(str(value))


def _traps(
    cls: type, dataset: Any, metadata: Any, table: str | None, row: dict[str, str]
) -> Iterator[dict[str, str]]:
    conflicts = list(_conflicts(dataset, metadata, row))
    if conflicts:
        yield _note("MOABB's sources disagree", "; ".join(conflicts))
    if table == "imagined_speech":
        yield _note("paradigm", "imagined speech, which MOABB files under imagery")
    if dataset.paradigm == "cvep":
        yield _note("epochs", "an epoch is one step of the stimulus code, not one selection")
    if len(dataset.event_id) < 2:
        yield _note("events", "one event type: cannot be classified without labels of one's own")
    doc = inspect.getdoc(cls) or ""
    for block in re.findall(r"\.\. (?:warning|caution)::(.*?)(?=\n\S|\Z)", doc, flags=re.S):
        yield _note("MOABB's warning", _one_line(block))


def _note(about: str, note: str) -> dict[str, str]:
    return {"kind": "note", "about": about, "note": note}


def _conflicts(dataset: Any, metadata: Any, row: dict[str, str]) -> Iterator[str]:
    """Where MOABB's table, its class and the class's metadata contradict one another."""
    participants = metadata.participants.n_subjects if metadata.participants else None
    ours: list[tuple[str, Any, Any, str | None]] = [
        ("subjects", len(dataset.all_subjects), participants, row.get("#Subj")),
        ("sessions", dataset.n_sessions, metadata.sessions_per_subject, row.get("#Sessions")),
        (
            "EEG channels",
            metadata.acquisition.channel_types["eeg"],
            None,
            row.get("#Chan"),
        ),
        ("Hz", metadata.acquisition.sampling_rate, None, row.get("Freq (Hz)")),
    ]
    for what, value, stated, cell in ours:
        others = [f"its metadata {_number(stated)}"] if stated not in (None, value) else []
        if cell is not None and not _same(cell, value):
            others.append(f"the summary table {cell!r}")
        if others:
            yield f"{what}: the class says {_number(value)}, {' and '.join(others)}"


def _same(cell: str, value: float) -> bool:
    try:
        return float(cell) == float(value)
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
