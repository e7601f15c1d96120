"""MOABB's dataset classes and paradigms, set up from a manifest and a preprocessing spec."""

from __future__ import annotations

import importlib
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from hypeeg.eeg import files as _files
from hypeeg.eeg.errors import CorruptDataError, DataError, MissingDataError, one_line, suggest
from hypeeg.eeg.manifest import Manifest, Paradigm
from hypeeg.eeg.preprocessing import PreprocessingSpec
from hypeeg.eeg.preprocessing_steps import RecordingStep, ReferenceStep

# What readers of MNE and MOABB raise for files they cannot make sense of.
_READ_ERRORS = (ValueError, RuntimeError, IndexError, KeyError, EOFError, struct.error)

# MOABB's and MNE's words when not one trial is left.
_NO_TRIALS = ("No objects to concatenate", "zero-size array", "No events found")


def make_dataset(manifest: Manifest, **params: Any) -> Any:
    """The MOABB dataset that a manifest names.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    **params
        Keyword arguments for the class, over those of the manifest.

    Returns
    -------
    moabb.datasets.base.BaseDataset

    Raises
    ------
    DataError
        If the class does not exist or refuses the parameters.
    MissingDataError
        If one's own recordings are not there.
    """
    if manifest.own is not None:
        from hypeeg.eeg.own_reader import make_own

        if params:
            raise DataError(f"{manifest.name}: parameters {params}: own recordings take none")
        return make_own(manifest)
    module, _, name = manifest.moabb_class.rpartition(".")
    try:
        source = importlib.import_module(module or "moabb.datasets")
    except ModuleNotFoundError as error:
        raise DataError(
            f"{manifest.name}: moabb_class={manifest.moabb_class!r}: {error}; give a class of "
            "moabb.datasets or the dotted path of an importable one"
        ) from error
    if not hasattr(source, name):
        classes = [key for key, value in vars(source).items() if isinstance(value, type)]
        raise DataError(
            f"{manifest.name}: moabb_class={manifest.moabb_class!r} is not in "
            f"{source.__name__}; {suggest(name, classes)}"
        )
    try:
        return getattr(source, name)(**{**manifest.moabb_params, **params})
    except (TypeError, ValueError) as error:
        raise DataError(f"{manifest.name}: parameters {params}: {error}") from error


def adapted(manifest: Manifest, dataset: Any) -> Manifest:
    """The manifest with what the parameters of a generated dataset change.

    Parameters
    ----------
    manifest : Manifest
        Description of the defaults.
    dataset : moabb.datasets.base.BaseDataset
        A class that makes its own data may have a method ``manifest_changes`` that returns
        manifest fields (number of subjects, trials, …).
    """
    changes: dict[str, Any] = getattr(dataset, "manifest_changes", dict)()
    if not changes:
        return manifest
    return Manifest.model_validate({**manifest.model_dump(), **changes})


def make_paradigm(
    paradigm: Paradigm,
    events: Sequence[str],
    preprocessing: PreprocessingSpec,
    channels: Sequence[str] | None = None,
) -> Any:
    """The MOABB paradigm that filters, cuts, selects and resamples as a spec says.

    Parameters
    ----------
    paradigm : str
        The manifest's paradigm.
    events : sequence of str
        Classes.
    preprocessing : PreprocessingSpec
        Band, window, baseline, resampling and channels. Re-referencing and recording steps are no
        parameters of MOABB's paradigms; :func:`process_pipelines` inserts them before the filter.
    channels : sequence of str or None
        Channels in order, if the spec names none.

    Returns
    -------
    moabb.paradigms.base.BaseParadigm
    """
    from moabb import paradigms

    spec = preprocessing
    selected = spec.channels or channels
    options = {
        "fmin": spec.fmin,
        "fmax": spec.fmax,
        "tmin": spec.tmin,
        "tmax": spec.tmax,
        "baseline": spec.baseline,
        "channels": list(selected) if selected else None,
        "resample": spec.resample,
    }
    if paradigm == "ssvep":
        return paradigms.SSVEP(events=list(events), n_classes=len(events), **options)
    if paradigm == "p300":
        return paradigms.P300(events=list(events), **options)
    if paradigm == "cvep":
        return paradigms.CVEP(events=list(events), n_classes=len(events), **options)
    if paradigm == "resting_state":
        return paradigms.RestingStateToP300Adapter(events=list(events), **options)
    if paradigm == "left_right_imagery" and set(events) == {"left_hand", "right_hand"}:
        return paradigms.LeftRightImagery(**options)
    return paradigms.MotorImagery(events=list(events), n_classes=len(events), **options)


@contextmanager
def quiet_readers() -> Iterator[None]:
    """Silence MNE's progress lines and the montage deprecation that MOABB itself triggers."""
    import mne

    with mne.use_log_level("ERROR"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Montage name 'standard_", category=FutureWarning)
        yield


def process_pipelines(
    paradigm: Any, dataset: Any, spec: PreprocessingSpec, *, montage: str | None = None
) -> list[Any]:
    """MOABB's own steps from raw to epochs, with ours before its filter.

    Parameters
    ----------
    paradigm : moabb.paradigms.base.BaseParadigm
        Paradigm from :func:`make_paradigm`.
    dataset : moabb.datasets.base.BaseDataset
        Dataset whose events and interval count.
    spec : PreprocessingSpec
        For its recording steps, then its ``reference``.
    montage : str or None
        Montage of recordings that carry no electrode positions.

    Returns
    -------
    list of moabb.datasets.preprocessing.FixedPipeline
        To be passed to the paradigm's ``get_data`` as ``process_pipelines``.
    """
    if not hasattr(dataset, "get_data"):
        return []  # arrays: their trials are cut already
    pipelines = paradigm.make_process_pipelines(dataset, return_epochs=True)
    steps: list[RecordingStep] = list(spec.recording_steps)
    if spec.reference is not None:
        steps.append(ReferenceStep(channels=spec.reference))
    if steps:
        from moabb.datasets.bids_interface import StepType
        from moabb.datasets.preprocessing import NamedFunctionTransformer

        from hypeeg.eeg.recording_steps import apply_step

        for pipeline in pipelines:
            for position, step in enumerate(steps):
                transformer = NamedFunctionTransformer(
                    func=apply_step,
                    kw_args={"step": step, "montage": montage},
                    display_name=repr(step),
                )
                # Index 0 sets the annotations.
                pipeline.insert_step(StepType.RAW, transformer, index=1 + position)
    return list(pipelines)


def read_subject(
    manifest: Manifest,
    paradigm: Any,
    dataset: Any,
    pipelines: list[Any],
    subject: int,
    spec: PreprocessingSpec,
) -> tuple[Any, Any, pd.DataFrame]:
    """Epochs, labels and metadata of one subject.

    Parameters
    ----------
    manifest : Manifest
        Dataset description, for messages.
    paradigm, dataset, pipelines : object
        From :func:`make_paradigm`, :func:`make_dataset` and :func:`process_pipelines`.
    subject : int
        Subject number.
    spec : PreprocessingSpec
        What the pipelines do, for arrays, which do not pass through them.

    Returns
    -------
    epochs : mne.Epochs
    labels : sequence of str
    metadata : DataFrame

    Raises
    ------
    MissingDataError, CorruptDataError, DataError
        In place of what MNE, MOABB or the network raised, which stays the cause.
    """
    where = f"{manifest.name} subject {subject}"
    try:
        with quiet_readers():
            if not hasattr(dataset, "get_data"):
                return dataset.read(subject, list(paradigm.events), spec)
            return paradigm.get_data(
                dataset, [subject], return_epochs=True, process_pipelines=pipelines
            )
    except DataError:
        raise
    except (OSError, *_READ_ERRORS) as error:
        present, missing = _files.subject_files(manifest, subject)
        if isinstance(error, OSError) and (missing or not present):
            path = f" ({missing[0]})" if missing else ""
            raise MissingDataError(
                f"{where}: recordings are not on this machine{path} and could not be fetched "
                f"({type(error).__name__}: {one_line(error)}); set HYPEEG_DATA to a folder that "
                "holds them, or connect to the network"
            ) from error
        if any(sign in str(error) for sign in _NO_TRIALS):
            raise DataError(
                f"{where}: no trial of the chosen events fits the epoch window; check events, "
                "tmin and tmax"
            ) from error
        if type(error).__name__.endswith("DownloadError"):
            raise MissingDataError(f"{where}: {one_line(error)}; set HYPEEG_DATA") from error
        here = [str(path) for path in present]
        raise CorruptDataError(
            f"{where}: could not be read or preprocessed ({type(error).__name__}: "
            f"{one_line(error)}); files: {', '.join(here) or 'none'}; run "
            f"'hypeeg data check {manifest.name}' and copy damaged files again"
        ) from error
