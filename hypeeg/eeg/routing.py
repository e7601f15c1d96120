"""Hand an estimator the metadata it asks for: whose trials these are, and target trials.

The names are MOABB's: ``subjects``, ``X_target_unlabeled``, ``X_target_labeled``,
``y_target_labeled``; ``sessions`` is ours.  An estimator asks through scikit-learn's metadata
routing (``set_fit_request``) and gets at ``fit`` what it asked for, and nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ROUTED = ("subjects", "sessions", "X_target_unlabeled", "X_target_labeled", "y_target_labeled")
"""Every keyword that a pipeline's ``fit`` may be offered."""


def requested(estimator: Any, offered: dict[str, Any]) -> dict[str, Any]:
    """Return what of the metadata on offer an estimator's ``fit`` asks for.

    Parameters
    ----------
    estimator : estimator
        A pipeline or classifier.
    offered : dict
        Keywords (see `ROUTED`) and their values.

    Returns
    -------
    dict
    """
    from sklearn import config_context
    from sklearn.utils.metadata_routing import get_routing_for_object

    with config_context(enable_metadata_routing=True):
        names = get_routing_for_object(estimator).consumes("fit", set(offered))
    return {name: value for name, value in offered.items() if name in names}


def fit_routed(estimator: Any, X: np.ndarray, y: np.ndarray, offered: dict[str, Any]) -> Any:
    """Fit an estimator with the metadata that it asks for.

    Parameters
    ----------
    estimator : estimator
        Is fitted in place.
    X : ndarray, shape (n_trials, n_channels, n_times)
        Training trials.
    y : ndarray, shape (n_trials,)
        Their classes.
    offered : dict
        Keywords (see `ROUTED`) and their values.

    Returns
    -------
    estimator
        The same.
    """
    return fit_with(estimator, X, y, requested(estimator, offered))


def fit_with(estimator: Any, X: np.ndarray, y: np.ndarray, wanted: dict[str, Any]) -> Any:
    """Fit an estimator with what :func:`requested` returned for it; see :func:`fit_routed`."""
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):
        return estimator.fit(X, y, **wanted)
