"""The vision wing: images of a data set, made hard on purpose, classified by networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from hypeeg.experiments.divisible import DataProblem
from hypeeg.experiments.fingerprint import hash_array
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.splits import Fold
from hypeeg.experiments.tasks import Task
from hypeeg.experiments.vision_spec import (
    FewShotSpec,
    VisionDatasetSpec,
    VisionEvaluationSpec,
    VisionPipelineSpec,
    VisionRunSpec,
    params_of,
    training_of,
)
from hypeeg.experiments.wings import DataFacts, Job
from hypeeg.vision.images import ImageData, ImageDataError

if TYPE_CHECKING:
    from hypeeg.vision.classifier import HypVisionClassifier

# Draws of a seed that must not depend on each other.
_IMAGES, _NOISE, _CLASSES, _EPISODES = range(4)


@dataclass(frozen=True, eq=False)
class VisionData:
    """Images as the tasks of a run see them, and what is made of them.

    Attributes
    ----------
    images : ImageData
        Of the classes that are told apart.
    dataset : VisionDatasetSpec
    evaluation : VisionEvaluationSpec
    """

    images: ImageData
    dataset: VisionDatasetSpec
    evaluation: VisionEvaluationSpec

    def labels(self, fold: Fold) -> np.ndarray:
        """Classes of a fold's training images as a network is told them, int64, some wrong."""
        from hypeeg.vision.settings import flip_labels

        images, noise = self.images, self.dataset.noise
        codes = images.codes[fold.train]
        if noise is None:
            return codes
        # New classes of few-shot episodes are no labels that an image could be given.
        known, local = np.unique(codes, return_inverse=True)
        wrong = flip_labels(
            local,
            len(known),
            noise.rate,
            noise.kind,
            np.random.default_rng([fold.seed, _NOISE]),
            images.group_of_class[known],
        )
        return known[wrong]


class VisionWing:
    """Vision experiments; see :class:`hypeeg.experiments.wings.Wing`.

    A run has one subject and one fold; what differs is pipeline and seed.  ``measures`` of
    ``scores.csv`` are those of :func:`hypeeg.vision.measures.image_measures`; of few-shot runs
    ``ci95``, half the 95 % confidence interval over episodes, and ``n_test`` counts queries.

    Parameters
    ----------
    loader : callable, optional
        Reads images; by default :func:`hypeeg.vision.load_images` of the data set's name.
    """

    def __init__(self, loader: Callable[[str], ImageData] | None = None) -> None:
        self.loader = loader

    def load(self, spec: VisionRunSpec) -> VisionData:
        """Read the images.

        Raises
        ------
        DataProblem
            If they are missing or damaged.
        SpecError
            If a class is asked for that is not there.
        """
        from hypeeg.vision.sources import load_images

        dataset = spec.dataset
        try:
            images = (self.loader or load_images)(dataset.name)
        except ImageDataError as error:
            raise DataProblem(str(error)) from error
        try:
            if dataset.classes is not None:
                images = images.take(dataset.classes)
            if dataset.labels == "groups":
                images = images.of_groups()
            if len(images.classes) < 2:
                raise ImageDataError(
                    f"{dataset.name} with labels: {dataset.labels} leaves the class "
                    f"{images.classes[0]!r} alone; ask for more classes"
                )
        except ImageDataError as error:
            raise SpecError([Problem("dataset.classes", str(error))], spec.name) from error
        return VisionData(images, dataset, spec.evaluation)

    def facts(self, spec: VisionRunSpec, data: VisionData) -> DataFacts:
        """Return the score, and what a reader must know of the images."""
        images, noise = data.images, spec.dataset.noise
        cautions = []
        if noise is not None:
            cautions.append(f"{noise.rate:.0%} of the training labels are wrong ({noise.kind})")
        return DataFacts(
            scoring=spec.evaluation.scoring,
            line=f"{len(images.X)} images of {len(images.classes)} classes in "
            f"{len(images.groups)} groups, X {images.X.shape}",
            cautions=tuple(cautions),
        )

    def plan(self, spec: VisionRunSpec, data: VisionData) -> list[Task]:
        """List pipelines and seeds."""
        tasks: list[Task] = []
        for seed in spec.evaluation.seeds:
            fold = _fold(spec, data, seed)
            for pipeline in spec.pipelines:
                tasks.append(Task(len(tasks), pipeline.name, fold))
        return tasks

    def build(
        self, spec: VisionRunSpec, pipeline: VisionPipelineSpec, data: VisionData, seed: int
    ) -> HypVisionClassifier:
        """Make the unfitted classifier of one pipeline.

        Raises
        ------
        SpecError
            If groups of classes are asked for in the loss where there are none.
        """
        from hypeeg.vision.classifier import HypVisionClassifier

        options = training_of(spec, pipeline).model_dump()
        if options["class_groups"] == "dataset":
            options["class_groups"] = _groups(spec, data, seed)
        return HypVisionClassifier(
            pipeline.model,
            model_params=params_of(spec, pipeline) or None,
            device=spec.device,
            random_state=seed,
            **options,
        )

    def fit(self, job: Job, data: VisionData) -> tuple[Any, float]:
        """Fit a clone of the estimator of a task on its training images.

        Returns
        -------
        tuple
            The fitted estimator, and the seconds that it took.
        """
        from hypeeg.experiments.epoch_embeddings import watched
        from hypeeg.experiments.fold import begin

        fold, images = job.task.fold, data.images
        estimator = begin(job)
        labels = np.asarray(images.classes)[data.labels(fold)]
        start = perf_counter()
        with watched(estimator, job.options.embedding_epochs):
            estimator.fit(images.X[fold.train], labels)
        return estimator, perf_counter() - start

    def run_task(self, job: Job, data: VisionData) -> dict[str, Any]:
        """Fit on the training images, score on the test images or on episodes of them."""
        from hypeeg.experiments.epoch_embeddings import epoch_arrays
        from hypeeg.experiments.fold import keep_model
        from hypeeg.experiments.heads import head_arrays
        from hypeeg.experiments.joint import joint_fit
        from hypeeg.experiments.parts import trial_arrays, write_part

        fold, options = job.task.fold, job.options
        with joint_fit(job.task):
            estimator, fit_time = self.fit(job, data)
        start = perf_counter()
        judge = _judge_episodes if data.evaluation.kind == "few_shot" else _judge_classes
        found = judge(estimator, data, fold, options.scoring)
        predict_time = perf_counter() - start
        trials = None
        if options.embeddings or options.predictions:
            points = found.embedding
            if points is None and options.embeddings:
                points = estimator.transform(data.images.X[fold.test])
            trials = trial_arrays(
                fold,
                data.images.y[fold.test],
                found.predicted,
                found.classes,
                embedding=points if options.embeddings else None,
                curvature=estimator.curvature_,
                proba=found.probabilities,
            )
        if trials is not None and options.embeddings:
            # Episodes are judged by means of their images; the head took no part in it.
            if found.embedding is None:
                trials |= head_arrays(estimator, trials["embedding"], found.probabilities)
            trials |= epoch_arrays(estimator, lambda: estimator.transform(data.images.X[fold.test]))
        write_part(
            job.part,
            history=estimator.history_,
            curvature_history=estimator.curvature_history_,
            trials=trials,
        )
        keep_model(estimator, job.model)
        return {
            "fit_time": fit_time,
            "predict_time": predict_time,
            "curvature": estimator.curvature_,
            "n_train": len(fold.train),
            "n_channels": int(data.images.X.shape[1]),
            "scores": [{"session": "0", **found.row}],
        }

    def describe_data(
        self, spec: VisionRunSpec, data: VisionData, tasks: Sequence[Task]
    ) -> dict[str, Any]:
        """Hash images, classes, groups and the division, wrong labels included."""
        images = data.images
        folds = hashlib.sha256()
        for task in tasks:
            folds.update(f"{task.index} {task.pipeline} {task.fold.seed};".encode())
            if task.pipeline == tasks[0].pipeline:
                fold = task.fold
                for numbers in (fold.train, fold.test, data.labels(fold)):
                    folds.update(np.ascontiguousarray(numbers, dtype="<i8").tobytes())
        groups = json.dumps(list(images.group_names.items()))
        counts = np.bincount(images.codes, minlength=len(images.classes))
        return {
            "dataset": spec.dataset.name,
            "shape": [int(n) for n in images.X.shape],
            "dtype": str(images.X.dtype),
            "classes": dict(zip(images.classes, counts.tolist(), strict=True)),
            "sha256": {
                "X": hash_array(images.X),
                "y": hash_array(images.codes.astype("<i8")),
                "metadata": hashlib.sha256(groups.encode("utf-8")).hexdigest(),
                "folds": folds.hexdigest(),
            },
            **({"source_sha256": images.sha256} if images.sha256 else {}),
        }


@dataclass(frozen=True, eq=False)
class _Judged:
    """What a fitted network was found to do on the test images."""

    row: dict[str, Any]
    predicted: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    embedding: np.ndarray | None = None


def _judge_classes(estimator: Any, data: VisionData, fold: Fold, scoring: str) -> _Judged:
    from sklearn.metrics import balanced_accuracy_score

    from hypeeg.vision.measures import image_measures
    from hypeeg.vision.settings import class_shares

    images = data.images
    true = images.codes[fold.test]
    known = np.asarray(estimator.classes_)
    probabilities = estimator.predict_proba(images.X[fold.test])
    predicted = known[probabilities.argmax(axis=1)]
    code_of = {name: code for code, name in enumerate(images.classes)}
    codes = np.array([code_of[name] for name in known.tolist()])
    guessed = codes[probabilities.argmax(axis=1)]
    by_code = np.zeros((len(true), len(images.classes)))
    by_code[:, codes] = probabilities
    shares = None
    if data.dataset.imbalance > 1:
        shares = class_shares(images.codes[fold.train], len(images.classes))
    right = true == guessed
    score = right.mean() if scoring == "accuracy" else balanced_accuracy_score(true, guessed)
    row = {
        "score": float(score),
        "n_test": len(true),
        "n_correct": int(right.sum()),
        "n_classes": len(images.classes),
        "measures": image_measures(true, guessed, by_code, images.group_of_class, shares),
    }
    return _Judged(row, predicted, known, probabilities)


def _judge_episodes(estimator: Any, data: VisionData, fold: Fold, scoring: str) -> _Judged:
    from hypeeg.vision.episodes import few_shot_accuracy, nearest_mean

    images = data.images
    asked = data.evaluation.few_shot
    assert asked is not None
    points = estimator.transform(images.X[fold.test])
    new, codes = np.unique(images.codes[fold.test], return_inverse=True)
    curvature = estimator.curvature_
    scores = few_shot_accuracy(
        points,
        codes,
        curvature,
        n_way=asked.n_way,
        k_shot=asked.k_shot,
        n_query=asked.n_query,
        n_episodes=asked.n_episodes,
        seed=int(np.random.SeedSequence([fold.seed, _EPISODES]).generate_state(1)[0]),
    )
    # What is kept of an image must be one prediction: episodes make many.
    nearest, probabilities = nearest_mean(points, codes, curvature)
    classes = np.asarray(images.classes)[new]
    row = {
        "score": scores.mean,
        "n_test": asked.n_episodes * scores.n_queries,
        "n_correct": scores.n_correct,
        "n_classes": asked.n_way,
        "measures": {"ci95": scores.ci95, "nearest_mean": float((nearest == codes).mean())},
    }
    return _Judged(row, classes[nearest], classes, probabilities, points)


def _fold(spec: VisionRunSpec, data: VisionData, seed: int) -> Fold:
    """Divide the images, with the draws of one seed."""
    from hypeeg.vision.settings import choose_images, novel_classes

    images, dataset, asked = data.images, spec.dataset, spec.evaluation
    n_classes, codes = len(images.classes), images.codes
    candidates, tested = np.flatnonzero(~images.is_test), np.flatnonzero(images.is_test)
    trained = np.arange(n_classes)
    rng = np.random.default_rng([seed, _IMAGES])
    try:
        if asked.kind == "few_shot":
            assert asked.few_shot is not None
            new = novel_classes(
                n_classes, asked.few_shot.novel_share, np.random.default_rng([seed, _CLASSES])
            )
            trained = np.setdiff1d(trained, new)
            tested = np.flatnonzero(np.isin(codes, new))
            candidates = candidates[np.isin(codes[candidates], trained)]
        elif asked.kind == "validation":
            assert asked.validation_fraction is not None
            candidates, tested = _divide(codes, candidates, asked.validation_fraction, rng)
        train = choose_images(
            np.searchsorted(trained, codes),
            candidates,
            len(trained),
            rng,
            per_class=dataset.n_train,
            imbalance=dataset.imbalance,
        )
        test = _first(codes, tested, dataset.n_test)
        if asked.kind == "few_shot":
            _check_episodes(codes[test], asked.few_shot)
    except ImageDataError as error:
        raise DataProblem(f"{images.name}: {error}") from error
    return Fold(1, None, 0, seed, train, test)


def _divide(
    codes: np.ndarray, candidates: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a share of the images of each class, at least one."""
    held = []
    for code in np.unique(codes[candidates]):
        members = candidates[codes[candidates] == code]
        if len(members) < 2:
            raise ImageDataError("a class has one training image; nothing of it can be held out")
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.append(rng.permutation(members)[:count])
    tested = np.sort(np.concatenate(held))
    return np.setdiff1d(candidates, tested), tested


def _first(codes: np.ndarray, images: np.ndarray, count: int | None) -> np.ndarray:
    """Return the first images of each class."""
    if count is None:
        return images
    kept = [images[codes[images] == code][:count] for code in np.unique(codes[images])]
    fewest = min(len(k) for k in kept)
    if fewest < count:
        raise ImageDataError(
            f"n_test={count} images of each class are asked for, but a class has {fewest}; ask for "
            "fewer"
        )
    return np.sort(np.concatenate(kept))


def _check_episodes(codes: np.ndarray, asked: FewShotSpec | None) -> None:
    assert asked is not None
    _, counts = np.unique(codes, return_counts=True)
    if len(counts) < asked.n_way or counts.min() < asked.k_shot + asked.n_query:
        raise ImageDataError(
            f"episodes of {asked.n_way} classes with {asked.k_shot} + {asked.n_query} images each "
            f"are asked for, but there are {len(counts)} new classes with at least "
            f"{counts.min()} images; change evaluation.few_shot"
        )


def _groups(spec: VisionRunSpec, data: VisionData, seed: int) -> dict[str, list[str]]:
    """Return the data set's groups of the classes that are trained on."""
    images = data.images
    trained = np.unique(images.codes[_fold(spec, data, seed).train])
    groups: dict[str, list[str]] = {}
    for code in trained:
        group = images.groups[images.group_of_class[code]]
        groups.setdefault(group, []).append(images.classes[code])
    if not 1 < len(groups) < len(trained):
        message = (
            f"dataset asks for the groups of the classes, but {len(trained)} classes are in "
            f"{len(groups)} groups here; remove it"
        )
        raise SpecError([Problem("training.class_groups", message)], spec.name)
    return groups


def make_wing() -> VisionWing:
    """Return the wing of vision runs."""
    return VisionWing()
