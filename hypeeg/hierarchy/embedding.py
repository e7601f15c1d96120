"""A scikit-learn estimator that places the nodes of a taxonomy in a space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from hypeeg.geometry import Euclidean, Lorentz
from hypeeg.hierarchy.measures import Dissimilarity, Ranking, rank_edges
from hypeeg.hierarchy.objectives import (
    KnownPairs,
    cone_energy,
    cone_loss,
    draw_negatives,
    softmax_loss,
)
from hypeeg.hierarchy.points import (
    PointTable,
    current_curvature,
    rate_factor,
    shuffled_batches,
)
from hypeeg.hierarchy.taxonomy import Taxonomy, TaxonomyError
from hypeeg.optim import RiemannianAdam, RiemannianAdamW, RiemannianSGD
from hypeeg.training.callbacks import TrainingDivergedError
from hypeeg.training.randomness import draw_seed, resolve_device

GEOMETRIES = ("lorentz", "euclidean")
OBJECTIVES = ("softmax", "cones")
DISTANCES = ("geodesic", "squared")
OPTIMIZERS = {"adam": RiemannianAdam, "adamw": RiemannianAdamW, "sgd": RiemannianSGD}

# Losses are looked at this often: to look at them is to wait for the device.
_LOOK_EVERY = 20


class TaxonomyEmbedding(BaseEstimator):
    """Embed a taxonomy so that every node lies near its ancestors.

    Lorentz embeddings of Nickel and Kiela and, with ``geometry="euclidean"``, their twin: the same
    loss, optimiser and budget in flat space. Distances are the cancellation-free ones of
    :mod:`hypeeg.geometry`. No step waits for the device.

    Parameters
    ----------
    dim : int, default 5
        Dimension of the space.
    geometry : {"lorentz", "euclidean"}
        The space.
    c : float, default 1.0
        Curvature magnitude (Lorentz only).
    learn_c : bool, default False
        Learn the curvature with the points.
    objective : {"softmax", "cones"}
        See :mod:`hypeeg.hierarchy.objectives`. Cones start from ``warm_up`` epochs of softmax.
    distance : {"geodesic", "squared"}
        What the softmax compares: distances, or squared ones (the Lorentz model's
        ``-2/c - 2<x, y>``, ``|x - y|^2`` in flat space).
    optimizer : {"adam", "adamw", "sgd"}
        Riemannian; Euclidean points take the plain steps.
    lr : float, default 0.02
        Learning rate.
    curvature_lr : float, default 0.01
        Of ``log c``.
    weight_decay : float, default 0.0
    epochs : int, default 300
        Passes over the edges.
    batch_size : int, default 512
        Edges a step.
    n_negatives : int, default 50
        Nodes drawn for each edge.
    burn_in : int, default 20
        First epochs, with the learning rate times ``burn_in_factor``: directions settle before
        points move outward.
    burn_in_factor : float, default 0.1
    lr_end : float, default 0.1
        The learning rate falls to this share of itself along half a cosine.
    warm_up : int, default 100
        Of the epochs, those of softmax before cones.
    init_scale : float, default 1e-3
        Coordinates start evenly in ``[-init_scale, init_scale]``.
    device : str, default "auto"
    random_state : int, RandomState, Generator or None

    Attributes
    ----------
    nodes_ : ndarray of str, shape (n_nodes,)
        Names, in the order of the points.
    module_ : PointTable
        The points and their manifold.
    curvature_ : float or None
        Final c; None for Euclidean points.
    history_ : list of dict
        ``epoch`` and ``train_loss`` of each epoch.
    curvature_history_ : list of float
        Before training and after each epoch; empty for Euclidean points.

    References
    ----------
    M. Nickel, D. Kiela: Learning Continuous Hierarchies in the Lorentz Model, ICML 2018.

    Examples
    --------
    >>> from hypeeg.hierarchy import TaxonomyEmbedding, balanced_tree
    >>> tree = balanced_tree(branching=2, depth=3)
    >>> embedding = TaxonomyEmbedding(dim=2, epochs=100, random_state=0).fit(tree)
    >>> embedding.transform(["r", "r.0"]).shape
    (2, 2)
    """

    def __init__(
        self,
        dim: int = 5,
        geometry: Literal["lorentz", "euclidean"] = "lorentz",
        *,
        c: float = 1.0,
        learn_c: bool = False,
        objective: Literal["softmax", "cones"] = "softmax",
        distance: Literal["geodesic", "squared"] = "geodesic",
        optimizer: Literal["adam", "adamw", "sgd"] = "adam",
        lr: float = 0.02,
        curvature_lr: float = 0.01,
        weight_decay: float = 0.0,
        epochs: int = 300,
        batch_size: int = 512,
        n_negatives: int = 50,
        burn_in: int = 20,
        burn_in_factor: float = 0.1,
        lr_end: float = 0.1,
        warm_up: int = 100,
        init_scale: float = 1e-3,
        device: str = "auto",
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
    ) -> None:
        self.dim = dim
        self.geometry = geometry
        self.c = c
        self.learn_c = learn_c
        self.objective = objective
        self.distance = distance
        self.optimizer = optimizer
        self.lr = lr
        self.curvature_lr = curvature_lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.n_negatives = n_negatives
        self.burn_in = burn_in
        self.burn_in_factor = burn_in_factor
        self.lr_end = lr_end
        self.warm_up = warm_up
        self.init_scale = init_scale
        self.device = device
        self.random_state = random_state

    def fit(self, edges: Taxonomy | Sequence[tuple[str, str]] | np.ndarray, y: Any = None) -> Self:
        """Place the nodes.

        Parameters
        ----------
        edges : Taxonomy, or pairs of str of shape (n_edges, 2)
            Pairs (child, ancestor), taken as they are: :meth:`Taxonomy.closure` makes them all.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        TaxonomyError
            If the pairs are no taxonomy.
        TrainingDivergedError
            If the loss becomes NaN or infinite.
        """
        self._check_params()
        taxonomy = edges if isinstance(edges, Taxonomy) else Taxonomy.from_pairs(edges)
        device = resolve_device(self.device)
        seed = draw_seed(self.random_state)
        # Drawn on the CPU: every device starts from the same points.
        start = torch.empty(taxonomy.n_nodes, self.dim).uniform_(
            -self.init_scale, self.init_scale, generator=torch.Generator().manual_seed(seed)
        )
        self.nodes_ = taxonomy.nodes
        self.module_ = PointTable(start, self._make_manifold()).to(device)
        # A copy: workers of a run share one that cannot be written to.
        self._train(torch.from_numpy(taxonomy.edges.copy()).to(device), seed)
        return self

    def transform(self, nodes: Sequence[str] | None = None) -> np.ndarray:
        """Return the points of nodes.

        Parameters
        ----------
        nodes : sequence of str, optional
            Their names; by default all, in the order of ``nodes_``.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            Space parts of hyperboloid points of curvature ``-curvature_``, or vectors.

        Raises
        ------
        TaxonomyError
            If a name is unknown.
        """
        check_is_fitted(self)
        points: np.ndarray = self.module_.points.detach().cpu().numpy().astype(np.float32)
        return points.copy() if nodes is None else points[self.index(nodes)]

    def fit_transform(
        self, edges: Taxonomy | Sequence[tuple[str, str]] | np.ndarray, y: Any = None
    ) -> np.ndarray:
        """Place the nodes and return all points; see :meth:`fit` and :meth:`transform`."""
        return self.fit(edges).transform()

    def index(self, nodes: Sequence[str]) -> np.ndarray:
        """Return the positions of nodes in ``nodes_``, int64 (n,)."""
        check_is_fitted(self)
        position = {name: i for i, name in enumerate(self.nodes_.tolist())}
        missing = [name for name in nodes if name not in position]
        if missing:
            import difflib

            near = difflib.get_close_matches(str(missing[0]), position, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise TaxonomyError(
                f"{len(missing)} of {len(nodes)} nodes are unknown: {missing[0]!r}{hint}"
            )
        return np.array([position[name] for name in nodes], dtype=np.int64)

    def score(
        self, edges: Taxonomy | Sequence[tuple[str, str]] | np.ndarray, y: Any = None
    ) -> float:
        """Return the mean average precision of the ancestors of each node among all nodes.

        Parameters
        ----------
        edges : Taxonomy, or pairs of str
            Pairs (child, ancestor) of nodes that were fitted.
        y : None
            Ignored.
        """
        return self.rank(self._indexed(edges)).mean_average_precision

    def rank(self, edges: np.ndarray, ignored: np.ndarray | None = None) -> Ranking:
        """Rank ancestors among all nodes; see :func:`hypeeg.hierarchy.measures.rank_edges`.

        Parameters
        ----------
        edges : ndarray of int64, shape (n_edges, 2)
            Positions in ``nodes_``.
        ignored : ndarray of int64, shape (k, 2), optional
            True pairs that take no rank.
        """
        check_is_fitted(self)
        return rank_edges(
            self.dissimilarity(),
            edges,
            len(self.nodes_),
            ignored=ignored,
            device=self.module_.points.device,
        )

    def dissimilarity(self, *, geodesic: bool = False) -> Dissimilarity:
        """Return the function that ranks: distances, or energies of cones.

        Parameters
        ----------
        geodesic : bool, default False
            Distances whatever the objective is.

        Returns
        -------
        callable
            From nodes, int64 (b,), to how far all nodes are from each, (b, n_nodes); float64 where
            the device has it.
        """
        check_is_fitted(self)
        points, manifold = self.module_.points.detach(), self.module_.manifold
        wide = points if points.device.type == "mps" else points.double()
        if self.objective == "cones" and not geodesic:
            c = manifold.c.detach()
            return lambda nodes: cone_energy(wide[nodes].unsqueeze(-2), wide, c)

        def distances(nodes: Tensor) -> Tensor:
            with torch.no_grad():
                return manifold.dist_pairwise(wide[nodes], wide)

        return distances

    @property
    def curvature_(self) -> float | None:
        """Curvature magnitude of the space, None where it is flat."""
        manifold = self.module_.manifold
        return manifold.curvature.value if isinstance(manifold, Lorentz) else None

    def save(self, folder: str | Path) -> Path:
        """Write the points; see :func:`hypeeg.hierarchy.persistence.save_embedding`."""
        from hypeeg.hierarchy.persistence import save_embedding

        return save_embedding(self, folder)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read what :meth:`save` wrote."""
        from hypeeg.hierarchy.persistence import load_embedding

        loaded: Self = load_embedding(cls, folder, device)
        return loaded

    def _indexed(self, edges: Taxonomy | Sequence[tuple[str, str]] | np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        if isinstance(edges, Taxonomy):
            if np.array_equal(edges.nodes, self.nodes_):
                return edges.edges
            pairs = edges.nodes[edges.edges]
        else:
            pairs = np.asarray(edges, dtype=str)
        return self.index(pairs.ravel().tolist()).reshape(-1, 2)

    def _make_manifold(self) -> Lorentz | Euclidean:
        if self.geometry == "euclidean":
            return Euclidean()
        return Lorentz(c=self.c, learnable=self.learn_c)

    def _check_params(self) -> None:
        for name, allowed in (
            ("geometry", GEOMETRIES),
            ("objective", OBJECTIVES),
            ("distance", DISTANCES),
            ("optimizer", tuple(OPTIMIZERS)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not known; allowed: {', '.join(allowed)}"
                )
        for name, least in (
            ("dim", 1),
            ("epochs", 1),
            ("batch_size", 1),
            ("n_negatives", 1),
            ("burn_in", 0),
            ("warm_up", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name}={value!r} must be a whole number from {least}")
        for name in ("lr", "burn_in_factor", "lr_end", "init_scale"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value!r} must be a positive number")

    def _train(self, edges: Tensor, seed: int) -> None:
        module, n_nodes = self.module_, len(self.nodes_)
        options = {"lr": self.lr, "weight_decay": self.weight_decay}
        kind = OPTIMIZERS[self.optimizer]
        optimizer = kind([module.points], curvature_lr=self.curvature_lr, **options)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda epoch: rate_factor(
                epoch, self.epochs, self.burn_in, self.burn_in_factor, self.lr_end
            ),
        )
        known = KnownPairs(edges, n_nodes)
        generator = torch.Generator(edges.device).manual_seed(seed)
        losses: list[Tensor] = []
        curvatures = [current_curvature(module)]
        for epoch in range(self.epochs):
            loss_of = self._objective(epoch)
            total = torch.zeros((), device=edges.device)
            for batch in shuffled_batches(edges, self.batch_size, generator):
                u, v = batch.unbind(1)
                drawn, excluded = draw_negatives(u, known, n_nodes, self.n_negatives, generator)
                candidates = torch.cat([v.unsqueeze(1), drawn], dim=1)
                loss = loss_of(module(u).unsqueeze(1), module(candidates), excluded)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(batch)
            scheduler.step()
            losses.append(total / len(edges))
            curvatures.append(current_curvature(module))
            if (epoch + 1) % _LOOK_EVERY == 0 or epoch + 1 == self.epochs:
                self._check_finite(losses)
        values = torch.stack(losses).tolist()
        self.history_ = [{"epoch": i, "train_loss": v} for i, v in enumerate(values, start=1)]
        found = [c for c in curvatures if c is not None]
        self.curvature_history_ = torch.stack(found).tolist() if found else []

    def _objective(self, epoch: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Return the loss of points (b, 1, n), candidates (b, 1 + k, n) and exclusions (b, k)."""
        manifold = self.module_.manifold
        if self.objective == "cones" and epoch >= self.warm_up:

            def cones(x: Tensor, candidates: Tensor, excluded: Tensor) -> Tensor:
                energy = cone_energy(x, candidates, manifold.c)
                return cone_loss(energy[:, 0], energy[:, 1:], excluded)

            return cones
        squared = self.distance == "squared"

        def softmax(x: Tensor, candidates: Tensor, excluded: Tensor) -> Tensor:
            if not squared:
                distances = manifold.dist(x, candidates)
            elif isinstance(manifold, Lorentz):
                distances = manifold.sqdist(x, candidates)
            else:
                distances = (x - candidates).square().sum(-1)
            return softmax_loss(distances[:, 0], distances[:, 1:], excluded)

        return softmax

    def _check_finite(self, losses: list[Tensor]) -> None:
        recent = torch.stack(losses[-_LOOK_EVERY:])
        bad = torch.nonzero(~torch.isfinite(recent)).flatten().tolist()
        if bad:
            epoch = len(losses) - len(recent) + bad[0] + 1
            raise TrainingDivergedError(
                f"the loss became {float(recent[bad[0]])} in epoch {epoch}; lower lr "
                f"(now {self.lr}) or curvature_lr"
            )
