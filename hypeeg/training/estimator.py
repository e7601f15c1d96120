"""The scikit-learn classifier that trains a network on one training loop, hyperbolic or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from skorch.callbacks import Callback

from hypeeg.nn.domain_norm import domain_layers
from hypeeg.training.batchnorm import refresh_batch_norm
from hypeeg.training.data import Augmentation, TrialBatches, TrialDataset, split_validation
from hypeeg.training.distributed import Replicas, current_replicas
from hypeeg.training.domains import DomainData, check_domain_sizes, gather, settle_target
from hypeeg.training.inputs import check_fit_data
from hypeeg.training.losses import class_group_codes, class_weights
from hypeeg.training.net import TrialNet, make_callbacks, make_net
from hypeeg.training.options import check_training_options
from hypeeg.training.persistence import KeepsModel
from hypeeg.training.prediction import PredictsWithNet
from hypeeg.training.randomness import (
    deterministic_convolutions,
    draw_seed,
    isolated_rng,
    resolve_device,
    seed_generators,
    spawn_seeds,
)


class HyperbolicClassifier(PredictsWithNet, KeepsModel):
    """Classifier around a network with hyperbolic parts; the base of every wing's estimator.

    A subclass says which network: :meth:`_module_config` describes it as plain data (what a saved
    model keeps) and :meth:`_build_module` makes it.  Everything else is here: a skorch net trains
    it, by default with :class:`hypeeg.optim.RiemannianAdamW`, which treats Euclidean parameters
    exactly as ``torch.optim.AdamW`` does, so that a network and its Euclidean twin share one
    training loop.

    The network has an attribute ``final_layer``, the input of which is the embedding; where a
    Lorentz head stands inside it (:func:`hypeeg.nn.hyperbolize`), the input of that.

    Parameters
    ----------
    max_epochs : int, default 60
        Passes over the training trials.
    batch_size : int, default 64
        Trials a step sees.
    lr : float, default 2e-3
        Learning rate at the start.
    weight_decay : float, default 1e-2
        Decoupled weight decay.
    optimizer : "radamw", "radam" or "adamw", default "radamw"
        :class:`~hypeeg.optim.RiemannianAdamW`; :class:`~hypeeg.optim.RiemannianAdam`, whose weight
        decay is coupled; or, as a baseline, AdamW on coordinates as if they were Euclidean
        (:class:`hypeeg.optim.coordinates.CoordinateAdamW`), under which points do not follow a
        learned c, and `curvature_move` and `curvature_gradient` have no effect.
    lr_schedule : "cosine" or None, default "cosine"
        Cosine decay of the learning rate to 0 over `max_epochs`, one step an epoch.
    curvature : "learned", "sharpness_aware" or "fixed", default "learned"
        Whether the curvature is trained: by the training loss with the weights, by the loss at
        perturbed weights (:class:`hypeeg.optim.sharpness.SharpnessAwareCurvature`, a fifth more
        time), or not.  Like the next six, of no effect on Euclidean networks.
    c : float, default 1.0
        Curvature magnitude at the start; the space has curvature -c.
    curvature_lr : float, default 1e-2
        Learning rate of log c.
    curvature_move : "exp", "scale" or "none", default "scale"
        How parameters on the manifold follow a change of c, for ``curvature="learned"``: at their
        distance to the origin, by a homothety, or not, as a baseline
        (:mod:`hypeeg.optim.curvature`).
    curvature_gradient : "autograd" or "consistent", default "autograd"
        Which derivative of the loss in c is followed; for ``curvature="learned"``.
    sharpness_rho : float, default 0.05
        Length of the perturbation of the weights, for ``curvature="sharpness_aware"``.
    sharpness_every : int, default 5
        Training steps from one step of the curvature to the next, likewise.
    early_stopping : bool, default False
        Hold out validation trials, stop when their loss no longer falls, and keep the weights of
        the best epoch.
    patience : int, default 15
        Epochs without a new minimum of the validation loss before stopping.
    validation_fraction : float, default 0.2
        Share of the trials held out, with the classes in proportion.
    class_weight : "balanced", dict or None, default None
        Weight of each class in the loss, keyed by label; classes left out weigh 1.
    class_groups : dict of list or None, default None
        Labels by name of group; the cross entropy of the groups is added to that of the classes
        (a class in no group is one by itself).
    refresh_batch_norm : bool, default True
        Compute batch-norm statistics anew from the training trials when training ends (and before
        each validation), instead of predicting with running averages that few steps have moved.
    compile : bool, default False
        Send training passes through :func:`torch.compile`.  On a GPU a step of a small network is
        mostly the launching of kernels, of which a compiled one has fewer.  Compiling takes its
        time, once in a process for all fits of one network; dropout draws other numbers.
    device : str, default "auto"
        ``"auto"`` takes CUDA, else MPS, else the CPU.
    random_state : int, RandomState or None, default None
        Seeds initial weights, dropout, order and split.  A fit never reads or changes the global
        generators of torch and NumPy; with None it is seeded by the operating system.
    callbacks : list of skorch callbacks or None, default None
        Called besides the estimator's own.
    verbose : int, default 0
        Above 0, every epoch is logged (logger ``hypeeg.training.callbacks``, level INFO).

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Labels, sorted.
    n_features_in_ : int
        Features of 2-D input; second dimension (channels) of larger input.
    feature_names_in_ : ndarray of str
        Column names, when `X` was a data frame.
    input_shape_ : tuple of int
        Shape of one trial.
    module_ : torch.nn.Module
        The trained network.
    net_ : skorch.NeuralNetClassifier
        What trained it.
    history_ : list of dict
        One an epoch: ``epoch, train_loss, valid_loss, valid_acc, lr, dur`` (seconds);
        ``valid_*`` are None without early stopping.
    curvature_ : float or None
        Curvature magnitude of the embedding; None for a Euclidean network.
    curvature_history_ : list of float
        Before training and after each epoch; empty for a Euclidean network.
    n_iter_ : int
        Epochs trained.
    seed_ : int
        The seed that was used: pass it as `random_state` to repeat the fit.
    domains_ : list of str or int, or None
        Domains of the training trials, where the fit was told.
    """

    def __init__(
        self,
        *,
        max_epochs: int = 60,
        batch_size: int = 64,
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        optimizer: Literal["radamw", "radam", "adamw"] = "radamw",
        lr_schedule: Literal["cosine"] | None = "cosine",
        curvature: Literal["learned", "sharpness_aware", "fixed"] = "learned",
        c: float = 1.0,
        curvature_lr: float = 1e-2,
        curvature_move: Literal["exp", "scale", "none"] = "scale",
        curvature_gradient: Literal["autograd", "consistent"] = "autograd",
        sharpness_rho: float = 0.05,
        sharpness_every: int = 5,
        early_stopping: bool = False,
        patience: int = 15,
        validation_fraction: float = 0.2,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        class_groups: Mapping[str, Sequence[Any]] | None = None,
        refresh_batch_norm: bool = True,
        compile: bool = False,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        callbacks: Sequence[Callback] | None = None,
        verbose: int = 0,
    ) -> None:
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule
        self.curvature = curvature
        self.c = c
        self.curvature_lr = curvature_lr
        self.curvature_move = curvature_move
        self.curvature_gradient = curvature_gradient
        self.sharpness_rho = sharpness_rho
        self.sharpness_every = sharpness_every
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.class_groups = class_groups
        self.refresh_batch_norm = refresh_batch_norm
        self.compile = compile
        self.device = device
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose

    # -- what a subclass says ---------------------------------------------------------------

    def _module_config(self, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        """Describe the network for these training trials, as data that JSON can hold."""
        raise NotImplementedError(
            f"{type(self).__name__} must define _module_config and _build_module"
        )

    def _build_module(self, config: dict[str, Any]) -> torch.nn.Module:
        """Make the network that a description stands for."""
        raise NotImplementedError(
            f"{type(self).__name__} must define _module_config and _build_module"
        )

    def _augmentation(self, seed: int) -> Augmentation | None:
        """Return what changes training batches, None for nothing; it draws from `seed` alone."""
        return None

    def _shape_message(self, expected: tuple[int, ...], got: tuple[int, ...]) -> str:
        """Say that trials have another shape than those of the fit."""
        return (
            f"X has trials of shape {got}, but {type(self).__name__} was fitted on trials of "
            f"shape {expected}; prepare them as for the fit, or fit again"
        )

    # -- scikit-learn's contract ------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return "net_" in vars(self)

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array-like, shape (n_trials, n_features) or (n_trials, n_channels, n_times)
            Trials; computed with in float32.
        y : array-like, shape (n_trials,)
            Labels: integers, strings, anything scikit-learn takes for classes.

        Returns
        -------
        self
            Fitted.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; the message says which and why.
        TrainingDivergedError
            If the loss or a weight stops being finite.
        """
        return self._fit(X, y, DomainData())

    def _fit(self, X: Any, y: Any, given: DomainData) -> Self:
        """Train a new network, with what is known of domains; see :meth:`fit`."""
        if "net_" in vars(self):
            del self.net_  # a fit that fails leaves no half-new model behind
        X, y = check_fit_data(self, X, y)
        check_training_options(self)
        data = gather(self, X, y, given)
        X, y, domain = data.X, data.y, data.codes
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y holds one class only ({classes.tolist()[0]!r}); {type(self).__name__} needs "
                "at least two: check the labels or the selection of trials"
            )
        replicas = current_replicas()
        device = resolve_device(self.device) if replicas is None else replicas.device
        seed = draw_seed(self.random_state)
        if replicas is not None:
            seed = int(replicas.agree(seed))
        torch_seed, order_seed, split_seed, augment_seed = spawn_seeds(seed, 4)
        if replicas is not None:  # each process changes its own share of a batch
            augment_seed = spawn_seeds(augment_seed, replicas.size)[replicas.rank]
        valid: np.ndarray | None = None
        train = np.arange(len(X))
        if self.early_stopping:
            train, valid = split_validation(codes, self.validation_fraction, split_seed, domain)
        X_train = X if valid is None else X[train]
        self.domains_ = data.labels
        config = self._module_config(X_train, codes[train])
        config["n_outputs"] = len(classes)
        if config.get("n_domains") is None:
            domain = None  # the network has no use for it
        elif domain is not None and data.labels is not None:
            check_domain_sizes(train, domain, data.labels)
        weights = class_weights(self.class_weight, classes, codes[train])
        groups = class_group_codes(self.class_groups, classes)

        def trials(index: np.ndarray, X: np.ndarray) -> TrialDataset:
            return TrialDataset(X, codes[index], device, None if domain is None else domain[index])

        valid_set = None if valid is None else trials(valid, X[valid])
        train_set = trials(train, X_train)
        with isolated_rng(torch_seed, device), deterministic_convolutions(device):
            module = self._build_module(config)
            if domain is not None and not domain_layers(module):
                raise TypeError(
                    f"{type(module).__name__} takes n_domains, but holds no layer with statistics "
                    "for each domain (hypeeg.nn.domain_norm.DomainNorm)"
                )
            net = make_net(
                self,
                module,
                device,
                callbacks=make_callbacks(self),
                order=torch.Generator().manual_seed(order_seed),
                weights=weights,
                groups=groups,
                augment=self._augmentation(augment_seed),
                valid_set=valid_set,
                total_steps=self.max_epochs * self._steps_of_epoch(train_set, replicas),
                replicas=replicas,
            )
            if replicas is not None and replicas.rank > 0:
                # Weights start alike; dropout and the like differ from share to share.
                seed_generators(spawn_seeds(torch_seed, replicas.size)[replicas.rank], device)
            net.partial_fit(train_set)
            if given.adapt_batch_norm and data.X_target is not None:
                target = None
                if domain is not None:
                    target = np.full(len(data.X_target), config["n_domains"] - 1)
                trials_of_target = TrialDataset(data.X_target, domain=target)
                refresh_batch_norm(net.module_, trials_of_target, self.batch_size, device)
            if domain is not None:
                settle_target(net.module_, data.X_target, given.unseen, self.batch_size, device)
        self.classes_ = classes
        self.input_shape_ = X.shape[1:]
        self.seed_ = seed
        self.module_config_ = config
        self.history_ = _history_rows(net)
        self.n_iter_ = len(self.history_)
        self.curvature_history_ = dict(net.callbacks_)["curvature_history"].values_
        self.net_ = net
        first = None if domain is None else domain[:1]
        self._n_features_out = net.embedding(TrialDataset(X[:1], domain=first)).shape[1]
        return self

    def _steps_of_epoch(self, trials: TrialDataset, replicas: Replicas | None) -> int:
        share = (0, 1) if replicas is None else (replicas.rank, replicas.size)
        return len(TrialBatches(trials, self.batch_size, torch.Generator(), share=share))


def _history_rows(net: TrialNet) -> list[dict[str, Any]]:
    columns = ("epoch", "train_loss", "valid_loss", "valid_acc", "lr", "dur")
    return [{name: row.get(name) for name in columns} for row in net.history]
