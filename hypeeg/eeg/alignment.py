"""Alignment of trials between subjects or sessions, as a scikit-learn transformer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hypeeg.eeg.transformers import check_epochs

_CHOICES: dict[str, tuple[Any, ...]] = {
    "domain": ("subject", "session", None),
    "metric": ("euclid", "riemann"),
    "unseen": ("source", "block"),
    "estimator": ("cov", "lwf", "oas"),
}


class DomainAlignment(TransformerMixin, BaseEstimator):
    r"""Whiten the trials of each domain by the domain's mean covariance.

    Each trial :math:`X_i` of domain d becomes :math:`\bar C_d^{-1/2} X_i`, with :math:`\bar C_d`
    the mean of the domain's trial covariances: with the arithmetic mean this is euclidean
    alignment [1]_, with the affine-invariant one re-centring on the manifold of covariances [2]_.
    No label is used.

    Parameters
    ----------
    domain : {"subject", "session"} or None, default "subject"
        Which of `subjects` and `sessions` says a training trial's domain; None, or the array
        missing at fit, takes all training trials as one domain.
    metric : {"euclid", "riemann"}, default "euclid"
        Mean of the covariances.
    unseen : {"source", "block"}, default "source"
        Reference of trials given to `transform` when no target data was given to `fit`.
        ``"source"`` is the mean of the training domains' references: trials are treated one by one,
        and right when they come from a training domain. ``"block"`` is the mean covariance of the
        trials given together (at least two): **transductive**, it uses test trials' signals,
        never their labels, as the original method does.
    estimator : {"cov", "lwf", "oas"}, default "lwf"
        Covariance estimator of :func:`pyriemann.geometry.covariance.covariances`: plain, or one of
        two that shrink and so keep references invertible, average reference or not. (Its ``scm``
        divides by the trace, and so forgets the differences of gain that alignment is to remove.)

    Attributes
    ----------
    n_channels_ : int
        Channels seen at fit.
    references_ : dict of ndarray of shape (n_channels, n_channels), float64
        Mean covariance of each training domain.
    source_reference_ : ndarray of shape (n_channels, n_channels)
        Their mean, each domain counting once, however many trials it has.
    target_reference_ : ndarray or None
        Mean covariance of the target trials given to `fit`.

    Notes
    -----
    ``fit_transform`` aligns each training trial with its own domain's reference; ``transform``
    treats what it is given as the target. The two differ on the same trials as soon as there is
    more than one domain: a pipeline calls the right one. Metadata is requested by the class itself;
    ``sklearn.set_config(enable_metadata_routing=True)`` lets a pipeline pass it on.

    References
    ----------
    .. [1] He, Wu (2020), Transfer learning for brain-computer interfaces: a Euclidean space data
       alignment approach, IEEE Transactions on Biomedical Engineering 67, 399-410.
    .. [2] Zanini, Congedo, Jutten, Said, Berthoumieu (2018), Transfer learning: a Riemannian
       geometry framework with applications to brain-computer interfaces, IEEE Transactions on
       Biomedical Engineering 65, 1107-1116.
    """

    __metadata_request__fit = {  # noqa: RUF012
        "subjects": True,
        "sessions": True,
        "X_target_unlabeled": True,
        "X_target_labeled": True,
    }

    def __init__(
        self,
        domain: str | None = "subject",
        metric: str = "euclid",
        unseen: str = "source",
        estimator: str = "lwf",
    ) -> None:
        self.domain = domain
        self.metric = metric
        self.unseen = unseen
        self.estimator = estimator

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        subjects: Any = None,
        sessions: Any = None,
        X_target_unlabeled: Any = None,
        X_target_labeled: Any = None,
    ) -> DomainAlignment:
        """Learn the reference of each training domain, and of the target if it is given.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : ignored
        subjects, sessions : array-like of shape (n_trials,), optional
            Subject and session of each training trial.
        X_target_unlabeled, X_target_labeled : array-like, optional
            Trials of the target domain that may be used before prediction, shape (n, n_channels,
            n_times); only their signals count.

        Returns
        -------
        DomainAlignment
            Itself.

        Raises
        ------
        ValueError
            For an unknown option, metadata of another length, or a reference that is singular.
        """
        self._fit(X, subjects, sessions, X_target_unlabeled, X_target_labeled)
        return self

    def fit_transform(
        self,
        X: Any,
        y: Any = None,
        *,
        subjects: Any = None,
        sessions: Any = None,
        X_target_unlabeled: Any = None,
        X_target_labeled: Any = None,
    ) -> np.ndarray:
        """Learn the references, and align each training trial with its own domain's.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : ignored
        subjects, sessions, X_target_unlabeled, X_target_labeled : array-like, optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray of the same shape and floating-point type
        """
        X, domains = self._fit(X, subjects, sessions, X_target_unlabeled, X_target_labeled)
        aligned = np.empty_like(X)
        for domain, reference in self.references_.items():
            rows = domains == domain
            aligned[rows] = _whitened(X[rows], reference)
        return aligned

    def transform(self, X: Any) -> np.ndarray:
        """Align trials of the target domain.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Trials with as many channels as at fit.

        Returns
        -------
        ndarray of the same shape and floating-point type

        Raises
        ------
        ValueError
            If ``unseen="block"`` is to take the reference from a single trial.
        """
        check_is_fitted(self, "n_channels_")
        X = check_epochs(X, n_channels=self.n_channels_, owner="DomainAlignment.transform")
        if self.target_reference_ is not None:
            return _whitened(X, self.target_reference_)
        if self.unseen == "source":
            return _whitened(X, self.source_reference_)
        if len(X) < 2:
            raise ValueError(
                "DomainAlignment: unseen='block' was given a single trial, whose own covariance "
                "would be whitened away; predict trials together, give fit X_target_unlabeled, or "
                "set unseen='source'"
            )
        return _whitened(X, self._reference(X, "the trials to transform"))

    def _fit(
        self, X: Any, subjects: Any, sessions: Any, unlabeled: Any, labeled: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {valid}")
        X = check_epochs(X, owner="DomainAlignment.fit")
        self.n_channels_ = X.shape[1]
        domains = self._domains(len(X), {"subject": subjects, "session": sessions})
        self.references_ = {
            domain: self._reference(X[domains == domain], f"domain {domain!r}")
            for domain in np.unique(domains).tolist()
        }
        self.source_reference_ = self._mean(np.stack(list(self.references_.values())))
        given = [
            check_epochs(target, n_channels=self.n_channels_, owner="DomainAlignment.fit (target)")
            for target in (unlabeled, labeled)
            if target is not None and len(target)
        ]
        self.target_reference_ = (
            self._reference(np.concatenate(given), "the target trials") if given else None
        )
        return X, domains

    def _domains(self, n: int, given: dict[str, Any]) -> np.ndarray:
        if self.domain is None:
            return np.zeros(n, dtype=int)
        values = given[self.domain]
        if values is None:
            warnings.warn(
                f"DomainAlignment: domain={self.domain!r}, but fit got no {self.domain}s: all "
                "training trials are taken as one domain. Route them "
                "(sklearn.set_config(enable_metadata_routing=True)) or set domain=None",
                UserWarning,
                stacklevel=4,
            )
            return np.zeros(n, dtype=int)
        values = np.asarray(values)
        if values.shape != (n,):
            raise ValueError(
                f"DomainAlignment.fit: {self.domain}s has shape {values.shape}, but X holds {n} "
                "trials; give one entry a trial"
            )
        return values

    def _reference(self, X: np.ndarray, whose: str) -> np.ndarray:
        from pyriemann.geometry.covariance import covariances

        # Eigenvalues of covariances span more orders of magnitude than float32 has digits.
        reference = self._mean(covariances(X.astype(np.float64), estimator=self.estimator))
        smallest, largest = np.linalg.eigvalsh(reference)[[0, -1]]
        if not smallest > 1e-12 * largest:
            raise ValueError(
                f"DomainAlignment: the mean covariance of {whose} ({len(X)} trials, "
                f"{X.shape[1]} channels, estimator={self.estimator!r}) is singular; use a "
                "shrinking estimator ('lwf' or 'oas'), or drop channels that depend on others"
            )
        return reference

    def _mean(self, matrices: np.ndarray) -> np.ndarray:
        from pyriemann.geometry.mean import gmean

        mean: np.ndarray = gmean(matrices, metric=self.metric)
        return mean


def _whitened(X: np.ndarray, reference: np.ndarray) -> np.ndarray:
    from pyriemann.geometry.base import invsqrtm

    return np.einsum("cd,ndt->nct", invsqrtm(reference), X, optimize=True).astype(X.dtype)
