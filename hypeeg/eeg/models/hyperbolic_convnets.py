"""ShallowFBCSPNet and Deep4Net with their features on the hyperboloid."""

from __future__ import annotations

from braindecode.models import Deep4Net, ShallowFBCSPNet

from hypeeg.eeg.models.steps import StepsOnHyperboloid


class HyperbolicShallowFBCSPNet(StepsOnHyperboloid, ShallowFBCSPNet):
    r"""ShallowFBCSPNet encoder, Lorentz layers and a Lorentz head with learned curvature.

    The layers up to the classifier are those of :class:`braindecode.models.ShallowFBCSPNet`, under
    their names. The log-power features of each time step are a point of the hyperboloid, within the
    maximum distance; Lorentz linear layers act on the points, and a Lorentz multinomial logistic
    regression or prototypes on their hyperbolic concatenation over time. With the former and
    identity layers the network is a ShallowFBCSPNet as ``c -> 0``. Other arguments than the
    following are those of that class.

    Parameters
    ----------
    head : {"mlr", "prototypes"}, default "mlr"
    n_lorentz_layers : int, default 1
        Number of Lorentz linear layers between lift and head.
    c : float, default 1.0
        Initial curvature magnitude; the space has curvature ``-c``.
    learnable_curvature : bool, default True
        Whether the curvature is learned.
    lift_scale : float, optional
        Factor on the features before the lift; by default one over the square root of their number
        at a time step.
    rescale_slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.
    """


class HyperbolicDeep4Net(StepsOnHyperboloid, Deep4Net):
    r"""Deep4Net encoder, Lorentz layers and a Lorentz head with learned curvature.

    The layers up to the classifier are those of :class:`braindecode.models.Deep4Net`, under their
    names. The features of each time step are a point of the hyperboloid, within the maximum
    distance; Lorentz linear layers act on the points, and a Lorentz multinomial logistic regression
    or prototypes on their hyperbolic concatenation over time. With the former and identity layers
    the network is a Deep4Net as ``c -> 0``. Other arguments than the following are those of that
    class.

    Parameters
    ----------
    head : {"mlr", "prototypes"}, default "mlr"
    n_lorentz_layers : int, default 1
        Number of Lorentz linear layers between lift and head.
    c : float, default 1.0
        Initial curvature magnitude; the space has curvature ``-c``.
    learnable_curvature : bool, default True
        Whether the curvature is learned.
    lift_scale : float, optional
        Factor on the features before the lift; by default one over the square root of their number
        at a time step.
    rescale_slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.
    """
