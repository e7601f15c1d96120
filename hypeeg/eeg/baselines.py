"""Classical pipelines by name: what pyRiemann, MOABB and scikit-learn offer, wired as they do.

Each function returns the steps after the check of the trials and the filter bank, if any.  Its
arguments are what ``params`` of a run file may hold.  Covariances are shrunk (``oas``) throughout:
stacked bands and short trials make plain ones singular.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from moabb.pipelines.features import LogVariance
from sklearn.pipeline import Pipeline

from hypeeg.eeg.baseline_steps import Augment, BandCovariances, time_courses

Steps = list[tuple[str, Any]]


class Context(NamedTuple):
    """What a pipeline knows of the trials before it sees them.

    Attributes
    ----------
    sfreq : float or None
        Sampling rate, Hz.
    bands : transformer or None
        The filter bank.
    """

    sfreq: float | None
    bands: Any


def csp_lda(
    context: Context, n_components: int = 6, covariance: str = "oas", blocks: bool = False
) -> Steps:
    """Common spatial patterns and linear discriminant analysis.

    Parameters
    ----------
    context : Context
        Trials.
    n_components : int
        Spatial filters kept.
    covariance : str
        Covariance estimator of pyRiemann.
    blocks : bool
        With bands: filters of each band by itself (filter-bank CSP) instead of across bands.

    Returns
    -------
    list of (str, estimator)
    """
    from pyriemann.spatialfilters import CSP
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return [
        *_covariances(context, covariance, blocks),
        ("csp", CSP(nfilter=n_components)),
        ("classifier", LinearDiscriminantAnalysis()),
    ]


def logvar_lda(context: Context) -> Steps:
    """Logarithm of each channel's variance and linear discriminant analysis."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return [
        *_bands(context),
        ("log_variance", LogVariance()),
        ("classifier", LinearDiscriminantAnalysis()),
    ]


def mdm(
    context: Context, covariance: str = "oas", metric: str = "riemann", blocks: bool = False
) -> Steps:
    """Minimum distance to the mean covariance of each class (Barachant et al. 2012)."""
    from pyriemann.classification import MDM

    return [*_covariances(context, covariance, blocks), ("classifier", MDM(metric=metric))]


def fgmdm(
    context: Context, covariance: str = "oas", metric: str = "riemann", blocks: bool = False
) -> Steps:
    """Minimum distance to mean after a geodesic filter (Barachant et al. 2010)."""
    from pyriemann.classification import FgMDM

    return [*_covariances(context, covariance, blocks), ("classifier", FgMDM(metric=metric))]


def ts_lr(
    context: Context,
    C: float = 1.0,
    covariance: str = "oas",
    metric: str = "riemann",
    blocks: bool = False,
) -> Steps:
    """Riemannian tangent space and logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return [
        *_covariances(context, covariance, blocks),
        _tangent_space(metric),
        ("classifier", LogisticRegression(C=C, max_iter=1000)),
    ]


def ts_svm(
    context: Context,
    C: float = 1.0,
    kernel: str = "linear",
    covariance: str = "oas",
    metric: str = "riemann",
    blocks: bool = False,
    probability: bool = False,
) -> Steps:
    """Riemannian tangent space and a support vector machine."""
    return [
        *_covariances(context, covariance, blocks),
        _tangent_space(metric),
        ("classifier", _svm(C, kernel, probability)),
    ]


def acm_ts_svm(
    context: Context,
    order: int | Sequence[int] = (1, 2, 4),
    lag: int | Sequence[int] = (1, 4, 8),
    C: float | Sequence[float] = 1.0,
    kernel: str | Sequence[str] = "rbf",
    covariance: str = "oas",
    n_folds: int = 3,
    scoring: str | None = None,
) -> Steps:
    """Augmented covariances, tangent space and a support vector machine.

    Lists of values are searched by cross-validation inside the training trials.  MOABB searches
    order and lag 1 to 10, C 0.5, 1, 1.5 and both kernels: 600 fits for each inner fold.

    Parameters
    ----------
    context : Context
        Trials.
    order, lag : int or list of int
        Copies of the channels, each delayed by `lag` more samples.
    C, kernel : float or str, or list of them
        Of the support vector machine.
    covariance : str
        Covariance estimator of pyRiemann.
    n_folds : int
        Inner folds.
    scoring : str, optional
        What the search maximises; none is accuracy.

    Returns
    -------
    list of (str, estimator)

    References
    ----------
    Carrara, Papadopoulo (2024), Classification of BCI-EEG based on the augmented covariance matrix,
    IEEE Trans. Biomed. Eng.; arXiv:2302.04508.
    """
    from pyriemann.estimation import Covariances
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    grid = {
        "augment__order": _values(order),
        "augment__lag": _values(lag),
        "classifier__C": _values(C),
        "classifier__kernel": _values(kernel),
    }
    # One lag is enough for order 1, which has no delayed copies.
    ones = {**grid, "augment__order": [1], "augment__lag": grid["augment__lag"][:1]}
    more = {**grid, "augment__order": [k for k in grid["augment__order"] if k != 1]}
    grids = [ones] if 1 in grid["augment__order"] else []
    grids += [more] if more["augment__order"] else []
    pipeline = Pipeline(
        [
            ("augment", Augment()),
            ("covariances", Covariances(covariance)),
            _tangent_space("riemann"),
            ("classifier", SVC()),
        ]
    )
    if all(len(values) == 1 for values in grid.values()):
        return list(pipeline.set_params(**{key: v[0] for key, v in grid.items()}).steps)
    search = GridSearchCV(pipeline, grids, cv=n_folds, scoring=scoring, error_score="raise")
    return [("classifier", search)]


def xdawn_lda(
    context: Context,
    n_components: int = 4,
    covariance: str = "oas",
    n_steps: int | None = 32,
    shrinkage: str | float | None = "auto",
) -> Steps:
    """Filters of xDAWN and linear discriminant analysis of their time courses.

    Parameters
    ----------
    context : Context
        Trials.
    n_components : int
        Filters for each class.
    covariance : str
        Covariance estimator of pyRiemann.
    n_steps : int or None
        Time courses are averaged to so many steps [2]_; none keeps every sample.
    shrinkage : "auto", float or None
        Of the discriminant analysis.  MOABB's pipeline has neither this nor `n_steps`.

    Returns
    -------
    list of (str, estimator)

    References
    ----------
    .. [1] Rivet, Souloumiac, Attina, Gibert (2009), xDAWN algorithm to enhance evoked potentials,
       IEEE Trans. Biomed. Eng. 56.
    .. [2] Blankertz, Lemm, Treder, Haufe, Müller (2011), Single-trial analysis and classification
       of ERP components, NeuroImage 56.
    """
    from pyriemann.spatialfilters import Xdawn
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.preprocessing import FunctionTransformer

    solver = "svd" if shrinkage is None else "lsqr"
    return [
        ("xdawn", Xdawn(nfilter=n_components, estimator=covariance)),
        ("vector", FunctionTransformer(time_courses, kw_args={"n_steps": n_steps})),
        ("classifier", LinearDiscriminantAnalysis(solver=solver, shrinkage=shrinkage)),
    ]


def xdawn_ts_lr(
    context: Context,
    n_components: int = 4,
    covariance: str = "oas",
    C: float = 1.0,
    metric: str = "riemann",
) -> Steps:
    """Covariances of xDAWN (Barachant 2014), tangent space and logistic regression."""
    from pyriemann.estimation import XdawnCovariances
    from sklearn.linear_model import LogisticRegression

    covariances = XdawnCovariances(
        nfilter=n_components, estimator=covariance, xdawn_estimator=covariance
    )
    return [
        ("covariances", covariances),
        _tangent_space(metric),
        ("classifier", LogisticRegression(C=C, max_iter=1000)),
    ]


def erpcov_mdm(
    context: Context, covariance: str = "oas", metric: str = "riemann", svd: int | None = None
) -> Steps:
    """Covariances of trials with the mean responses (Barachant, Congedo 2014), nearest mean."""
    from pyriemann.classification import MDM
    from pyriemann.estimation import ERPCovariances

    return [
        ("covariances", ERPCovariances(estimator=covariance, svd=svd)),
        ("classifier", MDM(metric=metric)),
    ]


def cca(context: Context, n_harmonics: int = 3, freqs: dict[str, float] | None = None) -> Steps:
    """Canonical correlation with sines and cosines of each stimulus (Bin et al. 2009).

    Nothing is learned from the training trials but which stimuli there are.
    """
    from moabb.pipelines.classification import SSVEP_CCA

    return _ssvep(context, SSVEP_CCA(n_harmonics=n_harmonics), freqs)


def trca(
    context: Context,
    n_fbands: int = 3,
    is_ensemble: bool = True,
    method: str = "original",
    covariance: str = "scm",
    freqs: dict[str, float] | None = None,
) -> Steps:
    """Task-related component analysis (Nakanishi et al. 2018), by MOABB.

    Parameters
    ----------
    context : Context
        Trials.
    n_fbands : int
        Bands of its own filter bank, at most as many as there are stimuli; MOABB has 5.
    is_ensemble : bool
        Use the spatial filters of all stimuli for each.
    method : {"original", "riemann", "logeuclid"}
        Mean of the covariances between trials.
    covariance : str
        Covariance estimator of pyRiemann.
    freqs : dict, optional
        Stimulus frequency of each class whose name is no number, Hz.

    Returns
    -------
    list of (str, estimator)
    """
    from moabb.pipelines.classification import SSVEP_TRCA

    estimator = SSVEP_TRCA(
        n_fbands=n_fbands, is_ensemble=is_ensemble, method=method, estimator=covariance
    )
    return _ssvep(context, estimator, freqs)


MAKERS: dict[str, Callable[..., Steps]] = {
    make.__name__: make
    for make in (
        *(csp_lda, logvar_lda),
        *(mdm, fgmdm, ts_lr, ts_svm, acm_ts_svm),
        *(xdawn_lda, xdawn_ts_lr, erpcov_mdm),
        *(cca, trca),
    )
}


def _covariances(context: Context, estimator: str, blocks: bool) -> Steps:
    from pyriemann.estimation import Covariances

    if not blocks:
        return [*_bands(context), ("covariances", Covariances(estimator))]
    if context.bands is None:
        raise ValueError("params: blocks needs bands; give bands, or leave blocks out")
    return [("covariances", BandCovariances(context.bands, estimator))]


def _bands(context: Context) -> Steps:
    return [] if context.bands is None else [("bands", context.bands)]


def _tangent_space(metric: str) -> tuple[str, Any]:
    from pyriemann.tangentspace import TangentSpace

    return ("tangent_space", TangentSpace(metric=metric))


def _svm(C: float, kernel: str, probability: bool) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    machine = SVC(C=C, kernel=kernel)
    return CalibratedClassifierCV(machine, ensemble=False) if probability else machine


def _ssvep(context: Context, estimator: Any, freqs: dict[str, float] | None) -> Steps:
    from hypeeg.eeg.ssvep import SSVEPClassifier

    if context.sfreq is None:
        raise ValueError(f"{type(estimator).__name__} needs sfreq; give the sampling rate")
    return [("classifier", SSVEPClassifier(estimator, context.sfreq, freqs))]


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
