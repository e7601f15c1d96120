"""The skorch net under the estimator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.helper import predefined_split

from hypeeg.geometry import CurvatureParameter
from hypeeg.nn import LorentzMLR, LorentzPrototypes
from hypeeg.optim import RiemannianAdam, RiemannianAdamW
from hypeeg.optim.coordinates import CoordinateAdamW
from hypeeg.optim.curvature import CurvatureGradient, CurvatureMove
from hypeeg.optim.sharpness import SharpnessAwareCurvature
from hypeeg.training.batchnorm import refresh_batch_norm
from hypeeg.training.callbacks import (
    CurvatureHistory,
    EpochLog,
    EpochRecord,
    KeepBest,
    NaNGuard,
    StopTraining,
)
from hypeeg.training.data import Augmentation, TrialBatches, TrialDataset
from hypeeg.training.distributed import Replicas
from hypeeg.training.losses import WeightedCrossEntropy

if TYPE_CHECKING:
    from hypeeg.training.estimator import HyperbolicClassifier


class TrialNet(NeuralNetClassifier):
    """A skorch classifier that waits for the device once an epoch, not once a batch.

    skorch reads every batch's loss off the device to write it down (``loss.item()``), which on a
    GPU lets the queue of kernels run dry at every step.  Here the losses stay where they are
    until the epoch's end; batch entries of the history are filled in then.

    A callback ends the training with :class:`~hypeeg.training.callbacks.StopTraining`.  Unlike in
    skorch, an interruption from the keyboard is not taken for that: it is passed on, so that a
    network trained half way never passes for a finished one.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    refresh_batch_norm : bool
        Whether batch-norm statistics are computed anew before each validation and at the end; see
        :func:`~hypeeg.training.batchnorm.refresh_batch_norm`.
    replicas : Replicas or None
        Processes that train this network together; each steps on its share of every batch, and
        losses are those of the joint batches.
    compile_training : bool
        Whether training passes go through :func:`torch.compile`. Predictions do not.
    **kwargs
        Those of ``skorch.NeuralNetClassifier``.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        refresh_batch_norm: bool = True,
        replicas: Replicas | None = None,
        compile_training: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, **kwargs)
        self.compile_training = compile_training
        self.refresh_batch_norm = refresh_batch_norm
        self.replicas = replicas
        self.train_split: Any

    _train_forward: Callable[..., Any] | None = None

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return []

    def check_data(self, X: Any, y: Any = None) -> None:
        """Accept anything: the estimator has checked it."""

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any
    ) -> TrialNet:
        """Train for `max_epochs` more epochs, or until a callback stops it."""
        if not self.initialized_:
            self.initialize()
        self.train_set_ = X
        # The call alone: skorch takes every module that it is given for one of its own.
        if self.replicas is not None:
            self._train_forward = self.replicas.wrap(self.module_).__call__
        if self.compile_training:
            self._train_forward = torch.compile(self._train_forward or self.module_.__call__)
        self.notify("on_train_begin", X=X, y=y)
        with contextlib.suppress(StopTraining):
            self.fit_loop(X, y, **fit_params)
        if self.train_split is None:
            self._refresh()
        self.notify("on_train_end", X=X, y=y)
        # Trials can be large, and a trained net has no use for them.
        self.train_set_ = self.train_split = None
        self._train_forward = self.replicas = None  # from here on each process has its own
        return self

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Run the network; in training, through what compiles it or joins several processes."""
        if self._train_forward is None or not self.module_.training:
            return super().infer(x, **fit_params)
        if isinstance(x, dict):
            return self._train_forward(**{k: v.to(self.device) for k, v in x.items()}, **fit_params)
        return self._train_forward(x.to(self.device), **fit_params)

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """Return the loss; of a share of a batch, so that the mean over shares is the batch's."""
        loss = super().get_loss(y_pred, y_true, X=X, training=training)
        if self.replicas is None or not training:
            return loss
        return loss * (len(y_true) * self.replicas.size / self._joint_size)

    def run_single_epoch(
        self,
        iterator: Any,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, torch.Tensor]],
        **fit_params: Any,
    ) -> None:
        """Run one pass and record its mean loss and, in validation, its accuracy."""
        if iterator is None:
            return
        if not training:
            self._refresh()
        losses: list[torch.Tensor] = []
        correct: list[torch.Tensor] = []
        sizes: list[int] = []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            shared = training and self.replicas is not None
            self._joint_size = iterator.joint_size if shared else len(batch[1])
            step = step_fn(batch, **fit_params)
            losses.append(step["loss"].detach())
            sizes.append(self._joint_size)
            if not training:
                target = batch[1].to(step["y_pred"].device)
                correct.append((step["y_pred"].argmax(dim=1) == target).sum())
            self.notify("on_batch_end", batch=batch, training=training, **step)
        means = torch.stack(losses)
        if self.replicas is not None:
            # Whatever is decided by a loss (early stopping, an end at NaN) is decided alike.
            means = self.replicas.mean(means)
        self._record_epoch(prefix, means.tolist(), sizes)
        if not training:
            accuracy = int(torch.stack(correct).sum()) / sum(sizes)
            self.history.record(f"{prefix}_acc", accuracy)

    def logits(self, trials: TrialDataset) -> torch.Tensor:
        """Compute the network's outputs batch by batch, in evaluation mode.

        Parameters
        ----------
        trials : TrialDataset
            Trials.

        Returns
        -------
        Tensor, shape (n_trials, n_classes), float32
            On the CPU.
        """
        # Gathered on the device: one transfer at the end instead of one for each batch.
        return torch.cat(list(self.forward_iter(trials, device=self.device))).float().cpu()

    def embedding(self, trials: TrialDataset) -> torch.Tensor:
        """Compute the inputs of the head, flattened, in evaluation mode.

        The head is ``final_layer``, or the Lorentz head inside it, whose inputs are points.

        Parameters
        ----------
        trials : TrialDataset
            Trials.

        Returns
        -------
        Tensor, shape (n_trials, n), float32
            On the CPU.

        Raises
        ------
        RuntimeError
            If ``final_layer`` does not run once for each batch.
        """
        seen: list[torch.Tensor] = []

        def keep(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen.append(inputs[0].detach().flatten(start_dim=1))

        handle = _head_of(self.module_.final_layer).register_forward_pre_hook(keep)
        try:
            self.logits(trials)
        finally:
            handle.remove()
        n_batches = len(self.get_iterator(trials))
        if len(seen) != n_batches:
            raise RuntimeError(
                f"the head of {type(self.module_).__name__} ran {len(seen)} times for "
                f"{n_batches} batches, so that its input is no embedding; it must run once a pass"
            )
        return torch.cat(seen).float().cpu()

    def _refresh(self) -> None:
        if self.refresh_batch_norm:
            refresh_batch_norm(self.module_, self.train_set_, self.batch_size, self.device)

    def _record_epoch(self, prefix: str, losses: list[float], sizes: list[int]) -> None:
        # skorch has opened a history entry for every batch, validation after training.
        entries = self.history[-1]["batches"][-len(sizes) :]
        for entry, loss, size in zip(entries, losses, sizes, strict=True):
            entry[f"{prefix}_loss"] = loss
            entry[f"{prefix}_batch_size"] = size
        mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
        self.history.record(f"{prefix}_loss", mean)
        self.history.record(f"{prefix}_batch_count", len(sizes))


def _head_of(final_layer: torch.nn.Module) -> torch.nn.Module:
    heads = [m for m in final_layer.modules() if isinstance(m, LorentzMLR | LorentzPrototypes)]
    return heads[0] if len(heads) == 1 else final_layer


def make_callbacks(options: HyperbolicClassifier) -> list[tuple[str, Callback]]:
    """List what happens around the epochs of a training.

    Parameters
    ----------
    options : HyperbolicClassifier
        Its training parameters are read.

    Returns
    -------
    list of (str, Callback)
        Those of the estimator, with the user's among them.
    """
    callbacks: list[tuple[str, Callback]] = [
        ("record", EpochRecord()),
        ("curvature_history", CurvatureHistory()),
        ("nan_guard", NaNGuard()),
    ]
    if options.verbose:
        callbacks.append(("log", EpochLog()))
    if options.lr_schedule is not None:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR
        callbacks.append(("schedule", LRScheduler(schedule, T_max=options.max_epochs)))
    for i, callback in enumerate(options.callbacks or ()):
        if isinstance(callback, EarlyStopping):
            raise ValueError(
                "callbacks holds skorch's EarlyStopping; use early_stopping=True and patience"
            )
        callbacks.append((f"user_{i}", callback))
    if options.early_stopping:
        # Last: when it stops the training, the others have seen the epoch.
        callbacks.append(("keep_best", KeepBest(options.patience)))
    return callbacks


def make_net(
    options: HyperbolicClassifier,
    module: torch.nn.Module,
    device: torch.device,
    *,
    callbacks: Sequence[tuple[str, Callback]] = (),
    order: torch.Generator | None = None,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    augment: Augmentation | None = None,
    valid_set: TrialDataset | None = None,
    total_steps: int | None = None,
    replicas: Replicas | None = None,
) -> TrialNet:
    """Put a network, the loss and the optimiser together.

    Parameters
    ----------
    options : HyperbolicClassifier
        Its training parameters are read.
    module : torch.nn.Module
        The network; its last layer is named ``final_layer``.
    device : torch.device
        Where to put it.
    callbacks : sequence of (str, Callback)
        For training.
    order : torch.Generator, optional
        Of the order of trials in training.
    weights : ndarray, shape (n_classes,), optional
        Class weights.
    groups : ndarray, shape (n_classes,), int64, optional
        Group of each class, which the loss asks for as well.
    augment : callable, optional
        Changes training batches; see :class:`~hypeeg.training.data.TrialBatches`.
    valid_set : TrialDataset, optional
        Validation trials.
    total_steps : int, optional
        Training steps to come, by which a sharpness-aware curvature is scheduled.
    replicas : Replicas, optional
        Processes that train together.

    Returns
    -------
    TrialNet
        Ready to train or to predict.

    Raises
    ------
    TypeError
        If the network has no ``final_layer``.
    """
    if not isinstance(getattr(module, "final_layer", None), torch.nn.Module):
        raise TypeError(
            f"{type(module).__name__} has no layer named final_layer, the input of which "
            "would be the embedding; name its last layer so"
        )
    net: TrialNet = TrialNet(
        module,
        refresh_batch_norm=options.refresh_batch_norm,
        replicas=replicas,
        compile_training=options.compile,
        criterion=WeightedCrossEntropy,
        criterion__weight=weights,
        criterion__groups=groups,
        optimizer=_make_optimizer,
        optimizer__kind=options.optimizer,
        optimizer__sharpness=_sharpness_options(options, module, total_steps),
        optimizer__weight_decay=options.weight_decay,
        optimizer__curvature_lr=options.curvature_lr,
        optimizer__curvature_move=options.curvature_move,
        optimizer__curvature_gradient=options.curvature_gradient,
        lr=options.lr,
        max_epochs=options.max_epochs,
        batch_size=options.batch_size,
        iterator_train=TrialBatches,
        iterator_train__generator=order,
        iterator_train__share=(0, 1) if replicas is None else (replicas.rank, replicas.size),
        iterator_train__augment=augment,
        iterator_valid=TrialBatches,
        train_split=None if valid_set is None else predefined_split(valid_set),
        callbacks=list(callbacks),
        device=str(device),
        verbose=0,
    ).initialize()
    return net


def _sharpness_options(
    options: HyperbolicClassifier, module: torch.nn.Module, total_steps: int | None
) -> dict[str, Any] | None:
    """Return the options of the sharpness-aware curvature, None if there is none to learn."""
    learned = any(
        isinstance(p, CurvatureParameter) and p.requires_grad for p in module.parameters()
    )
    if options.curvature != "sharpness_aware" or not learned:
        return None
    return {
        "rho": options.sharpness_rho,
        "every": options.sharpness_every,
        "lr": options.curvature_lr,
        "module": module,
        "total_steps": total_steps,
    }


def _make_optimizer(
    params: Any,
    *,
    kind: str,
    sharpness: dict[str, Any] | None = None,
    curvature_move: CurvatureMove,
    curvature_gradient: CurvatureGradient,
    **kwargs: Any,
) -> torch.optim.Optimizer:
    """Make what trains a network, inside what learns the curvature by sharpness if that does."""
    optimizer: torch.optim.Optimizer
    if kind == "adamw":  # knows neither how points could follow a curvature nor that they do
        optimizer = CoordinateAdamW(params, **kwargs)
    else:
        riemannian = RiemannianAdam if kind == "radam" else RiemannianAdamW
        optimizer = riemannian(
            params, curvature_move=curvature_move, curvature_gradient=curvature_gradient, **kwargs
        )
    return optimizer if sharpness is None else SharpnessAwareCurvature(optimizer, **sharpness)
