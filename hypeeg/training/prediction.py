"""What a trained network says about trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hypeeg.training.callbacks import find_curvature
from hypeeg.training.data import TrialDataset
from hypeeg.training.domains import target_of_block
from hypeeg.training.inputs import check_predict_data
from hypeeg.training.net import TrialNet


class PredictsWithNet(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin):
    """Mix-in of the methods of a fitted estimator that run its network.

    A network with statistics for each domain takes the trials for those of the target domain, the
    last one.  If the fit has left the target unseen, the block of trials that is given is the
    domain: its statistics are computed first, for this call only.
    """

    classes_: np.ndarray
    input_shape_: tuple[int, ...]
    net_: TrialNet
    module_config_: dict[str, Any]

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute scores from which the predicted class follows.

        Parameters
        ----------
        X : array-like, shape (n_trials, ...)
            Trials of the shape of the fit.

        Returns
        -------
        ndarray, float32
            For two classes, shape (n_trials,): the score of ``classes_[1]`` minus that of
            ``classes_[0]``.  For more, shape (n_trials, n_classes): the network's outputs.
        """
        logits = self._logits(X)
        scores = logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits
        return scores.numpy()

    def predict_proba(self, X: Any) -> np.ndarray:
        """Compute the probability of every class.

        Parameters
        ----------
        X : array-like, shape (n_trials, ...)
            Trials of the shape of the fit.

        Returns
        -------
        ndarray, shape (n_trials, n_classes), float32
            In the order of `classes_`.
        """
        return torch.softmax(self._logits(X), dim=1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like, shape (n_trials, ...)
            Trials of the shape of the fit.

        Returns
        -------
        ndarray, shape (n_trials,)
            Members of `classes_`.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(dim=1).numpy()]

    def transform(self, X: Any) -> np.ndarray:
        """Compute embeddings: the inputs of the network's head.

        Parameters
        ----------
        X : array-like, shape (n_trials, ...)
            Trials of the shape of the fit.

        Returns
        -------
        ndarray, shape (n_trials, n), float32
            For a hyperbolic network, space parts of points of the hyperboloid of curvature
            ``-curvature_``, time part ``sqrt(1 / curvature_ + |x|^2)``; for a Euclidean one, its
            features.
        """
        return self._run(X, lambda net, trials: net.embedding(trials)).numpy()

    @property
    def module_(self) -> torch.nn.Module:
        """The trained network."""
        return self.net_.module_

    @property
    def curvature_(self) -> float | None:
        """Curvature magnitude of the embedding, None for a Euclidean network."""
        curvature = find_curvature(self.module_)
        return None if curvature is None else float(curvature.value)

    def _checked(self, X: Any) -> np.ndarray:
        return check_predict_data(self, X, self.input_shape_)

    def _logits(self, X: Any) -> torch.Tensor:
        return self._run(X, lambda net, trials: net.logits(trials))

    def _run(
        self, X: Any, compute: Callable[[TrialNet, TrialDataset], torch.Tensor]
    ) -> torch.Tensor:
        check_is_fitted(self)
        X = self._checked(X)
        net = self.net_
        if self.module_config_.get("n_domains") is None:
            return compute(net, TrialDataset(X))
        with target_of_block(net.module_, X, net.batch_size, net.device) as target:
            return compute(net, TrialDataset(X, domain=np.full(len(X), target)))
