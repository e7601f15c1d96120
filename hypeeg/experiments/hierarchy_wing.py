"""The hierarchy wing: a taxonomy embedded in several spaces, pairs ranked, points kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from hypeeg.experiments.hierarchy_spec import (
    HierarchyPipelineSpec,
    HierarchyRunSpec,
    training_of,
)
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.splits import Fold
from hypeeg.experiments.tasks import Task
from hypeeg.experiments.wings import DataFacts, Job
from hypeeg.hierarchy.taxonomy import Taxonomy, TaxonomyError

# Distances are compared with steps in the taxonomy from at most so many nodes to all others, and
# from fewer where there are more pairs than 32 MB hold.
_DISTORTION_SOURCES = 500
_DISTORTION_PAIRS = 4 * 10**6


@dataclass(frozen=True, eq=False)
class HierarchyData:
    """A taxonomy as the tasks of a run see it.

    Attributes
    ----------
    taxonomy : Taxonomy
        Its pairs are what is embedded or divided.
    branches : ndarray of str, shape (n_nodes,)
        Branch of each node: its label in tables and figures.
    nodes : ndarray of int64, shape (n_kept,)
        Nodes that are ranked, labelled and kept; all of a small taxonomy.
    """

    taxonomy: Taxonomy
    branches: np.ndarray
    nodes: np.ndarray


class HierarchyWing:
    """Hierarchy experiments; see :class:`hypeeg.experiments.wings.Wing`.

    A run has one subject and one fold; what differs is pipeline, dimension and seed. The columns
    of ``scores.csv``: ``score`` is the mean average precision, ``accuracy`` the share of nodes
    whose nearest other node is of their branch, ``channels`` the dimension, ``n_train`` and
    ``samples`` count pairs and ``n_test`` nodes; ``mean_rank`` and other measures have columns of
    their own.
    """

    def load(self, spec: HierarchyRunSpec) -> HierarchyData:
        """Read the taxonomy.

        Raises
        ------
        SpecError
            If it is missing or damaged.
        """
        from hypeeg.hierarchy.data import load_taxonomy

        dataset = spec.dataset.resolved()
        tree = {"branching": dataset.branching, "depth": dataset.depth}
        try:
            taxonomy = load_taxonomy(
                dataset.name, **{k: v for k, v in tree.items() if v is not None}
            )
        except TaxonomyError as error:
            raise SpecError([Problem("dataset", str(error))], spec.name) from error
        nodes = np.arange(taxonomy.n_nodes)
        most = spec.evaluation.max_queries
        if most < len(nodes):
            nodes = np.sort(np.random.default_rng(0).choice(nodes, most, replace=False))
        return HierarchyData(taxonomy, taxonomy.branches(), nodes)

    def facts(self, spec: HierarchyRunSpec, data: HierarchyData) -> DataFacts:
        """Return the score, and what a reader must know of the taxonomy."""
        taxonomy = data.taxonomy
        cautions = []
        if len(data.nodes) < taxonomy.n_nodes:
            cautions.append(
                f"{len(data.nodes)} of {taxonomy.n_nodes} nodes are ranked, labelled and kept "
                "(evaluation.max_queries)"
            )
        return DataFacts(
            scoring=spec.evaluation.scoring,
            line=f"{taxonomy.n_nodes} nodes, {taxonomy.n_edges} pairs (child, ancestor), "
            f"depth {taxonomy.depth.max()}, {len(taxonomy.roots)} roots",
            cautions=tuple(cautions),
        )

    def plan(self, spec: HierarchyRunSpec, data: HierarchyData) -> list[Task]:
        """List pipelines (one for each dimension) and seeds."""
        tasks: list[Task] = []
        for seed in spec.evaluation.seeds:
            fold = self._fold(spec, data, seed)
            for pipeline in spec.pipelines:
                tasks.append(Task(len(tasks), pipeline.name, fold))
        return tasks

    def _fold(self, spec: HierarchyRunSpec, data: HierarchyData, seed: int) -> Fold:
        """Return the pairs to train on and those to rank, positions among those of the taxonomy."""
        taxonomy, asked = data.taxonomy, spec.evaluation
        if asked.kind == "reconstruction":
            everything = np.arange(taxonomy.n_edges)
            return Fold(1, None, 0, seed, everything, self._ranked(everything, data))
        from hypeeg.hierarchy.split import split_edges

        assert asked.held_out is not None
        assert asked.train_share is not None
        try:
            split = split_edges(taxonomy, asked.held_out, seed, asked.train_share)
        except TaxonomyError as error:
            raise SpecError([Problem("evaluation.held_out", str(error))], spec.name) from error
        train, test = _positions(taxonomy, split.train), _positions(taxonomy, split.test)
        return Fold(1, None, 0, seed, train, self._ranked(test, data))

    @staticmethod
    def _ranked(positions: np.ndarray, data: HierarchyData) -> np.ndarray:
        asked = np.zeros(data.taxonomy.n_nodes, dtype=bool)
        asked[data.nodes] = True
        return positions[asked[data.taxonomy.edges[positions, 0]]]

    def build(
        self,
        spec: HierarchyRunSpec,
        pipeline: HierarchyPipelineSpec,
        data: HierarchyData,
        seed: int,
    ) -> Any:
        """Make the unfitted embedding of one pipeline."""
        from hypeeg.hierarchy.embedding import TaxonomyEmbedding

        assert isinstance(pipeline.dim, int)
        given = pipeline.params.model_dump(exclude_none=True)
        lorentz = pipeline.model == "LorentzEmbedding"
        return TaxonomyEmbedding(
            pipeline.dim,
            "lorentz" if lorentz else "euclidean",
            device=spec.device,
            random_state=seed,
            **given,
            **training_of(spec, pipeline).model_dump(),
        )

    def run_task(self, job: Job, data: HierarchyData) -> dict[str, Any]:
        """Embed the training pairs, rank the asked ones, measure and keep the points."""
        from hypeeg.experiments.fold import begin, keep_model
        from hypeeg.experiments.parts import trial_arrays, write_part

        taxonomy, fold = data.taxonomy, job.task.fold
        edges = taxonomy.edges
        estimator = begin(job)
        start = perf_counter()
        estimator.fit(taxonomy.with_edges(edges[fold.train]))
        fit_time = perf_counter() - start
        start = perf_counter()
        # Pairs that were trained on and are not asked for are true all the same.
        known = np.setdiff1d(fold.train, fold.test)
        ranking = estimator.rank(edges[fold.test], ignored=edges[known])
        predict_time = perf_counter() - start
        nearest, measures = _measure(estimator, data)
        labels, found = data.branches[data.nodes], data.branches[nearest]
        classes = np.unique(data.branches)
        trials = None
        if job.options.embeddings or job.options.predictions:
            points = estimator.transform()[data.nodes] if job.options.embeddings else None
            trials = trial_arrays(
                replace(fold, test=data.nodes),
                labels,
                found,
                classes,
                embedding=points,
                curvature=estimator.curvature_,
            )
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
            "n_channels": int(estimator.dim),
            "scores": [
                {
                    "session": "0",
                    "score": ranking.mean_average_precision,
                    "n_test": len(data.nodes),
                    "n_correct": int((labels == found).sum()),
                    "n_classes": len(classes),
                    "measures": {
                        "mean_rank": ranking.mean_rank,
                        "hits_1": ranking.hits(1),
                        "hits_10": ranking.hits(10),
                        **measures,
                    },
                }
            ],
        }

    def describe_data(
        self, spec: HierarchyRunSpec, data: HierarchyData, tasks: Sequence[Task]
    ) -> dict[str, Any]:
        """Hash nodes, pairs and their division."""
        taxonomy = data.taxonomy
        folds = hashlib.sha256()
        for task in tasks:
            folds.update(f"{task.index} {task.pipeline} {task.fold.seed};".encode())
            if task.pipeline == tasks[0].pipeline:
                for indices in (task.fold.train, task.fold.test):
                    folds.update(np.ascontiguousarray(indices, dtype="<i8").tobytes())
        branches = hashlib.sha256("\n".join(data.branches.tolist()).encode("utf-8"))
        return {
            "dataset": taxonomy.name,
            "shape": [taxonomy.n_nodes, taxonomy.n_edges],
            "dtype": "pairs",
            "sha256": {
                "X": taxonomy.sha256(),
                "y": branches.hexdigest(),
                "metadata": hashlib.sha256(data.nodes.astype("<i8").tobytes()).hexdigest(),
                "folds": folds.hexdigest(),
            },
        }


def _positions(taxonomy: Taxonomy, pairs: np.ndarray) -> np.ndarray:
    """Return where pairs stand among those of a taxonomy, which are sorted."""
    n = taxonomy.n_nodes
    keys = taxonomy.edges[:, 0] * n + taxonomy.edges[:, 1]
    return np.searchsorted(keys, pairs[:, 0] * n + pairs[:, 1])


def _measure(estimator: Any, data: HierarchyData) -> tuple[np.ndarray, dict[str, float]]:
    """Return the nearest node of each kept one, and measures of the whole embedding."""
    import torch

    from hypeeg.hierarchy.measures import depth_correlation, distortion, nearest_nodes

    taxonomy = data.taxonomy
    distances = estimator.dissimilarity(geodesic=True)
    device = estimator.module_.points.device
    nearest = nearest_nodes(distances, data.nodes, taxonomy.n_nodes, device=device)

    def far(nodes: np.ndarray) -> np.ndarray:
        found: np.ndarray = distances(torch.from_numpy(nodes.copy()).to(device)).cpu().numpy()
        return found

    # Where there is no single root, depth is measured from the nearest.
    from_root = np.min([far(np.array([root]))[0] for root in taxonomy.roots[:100]], axis=0)
    some = data.nodes
    most = max(1, min(_DISTORTION_SOURCES, _DISTORTION_PAIRS // taxonomy.n_nodes))
    if len(some) > most:
        some = np.sort(np.random.default_rng(0).choice(some, most, replace=False))
    steps = taxonomy.distances(some)
    # In blocks: distances of a large taxonomy from all of these at once would not fit.
    embedded = np.concatenate([far(some[i : i + 50]) for i in range(0, len(some), 50)])
    stretched = distortion(embedded, steps)
    return nearest, {
        "distortion": stretched.mean,
        "worst_distortion": stretched.worst,
        "depth_correlation": depth_correlation(from_root, taxonomy.depth),
    }


def make_wing() -> HierarchyWing:
    """Return the wing of hierarchy runs."""
    return HierarchyWing()
