"""Any braindecode model with a hyperbolic head: ``Hyperbolic(EEGNeX)``."""

from __future__ import annotations

import functools
from typing import Any

from hypeeg.eeg.models.on_backbone import OnBackbone
from hypeeg.eeg.models.pieces import Head
from hypeeg.nn import hyperbolize

_DOC = r"""{name} of braindecode with a hyperbolic head.

    All layers but the last are those of :class:`braindecode.models.{name}` under their names. The
    last one becomes :class:`hypeeg.nn.HyperbolicHead` (see :func:`hypeeg.nn.hyperbolize`): features
    are lifted to the hyperboloid within the maximum distance and classified there. Max-norms of
    the last layer's weights are kept. With the ``"mlr"`` head the network is a {name} as
    ``c -> 0``. Other arguments are those of :class:`braindecode.models.{name}`.

    Parameters
    ----------
    head : {{"mlr", "prototypes"}}, default "mlr"
    embedding_dim : int, optional
        Dimension of the points, to which a linear layer leads; by default that of the features.
    c : float, default 1.0
        Initial curvature magnitude; the space has curvature ``-c``.
    learnable_curvature : bool, default True
        Whether the curvature is learned.
    lift_scale : float, optional
        Factor on the features before the lift; by default one over the square root of their number.
    rescale_slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.
    """


class HeadOnly(OnBackbone):
    """Mix-in that replaces the final layer of a braindecode model; see :func:`with_head`."""

    def _convert(
        self,
        *,
        head: Head = "mlr",
        embedding_dim: int | None = None,
        c: float = 1.0,
        learnable_curvature: bool = True,
        lift_scale: float | None = None,
        rescale_slope: float = 3.0,
    ) -> None:
        hyperbolize(
            self,  # type: ignore[arg-type]
            head=head,
            embedding_dim=embedding_dim,
            c=c,
            learnable_curvature=learnable_curvature,
            scale=lift_scale,
            slope=rescale_slope,
        )


@functools.cache
def with_head(name: str) -> type[Any]:
    """Return the class of a braindecode model with a hyperbolic head.

    Parameters
    ----------
    name : str
        Of a model in ``braindecode.models``.

    Returns
    -------
    type
        A subclass of that model with the arguments of :func:`hypeeg.nn.hyperbolize` besides; its
        name is ``Hyperbolic(name)``. Building it raises a ValueError if the final layer cannot be
        replaced.
    """
    from hypeeg.eeg.models.registry import braindecode_models

    backbone = braindecode_models()[name]
    # Found again by pickle through the module's __getattr__.
    contents = {"__doc__": _DOC.format(name=name), "__module__": __name__}
    make: Any = type(backbone)
    made: type[Any] = make(f"Hyperbolic({name})", (HeadOnly, backbone), contents)
    return made


def __getattr__(name: str) -> type[Any]:
    if name.startswith("Hyperbolic(") and name.endswith(")"):
        return with_head(name[len("Hyperbolic(") : -1])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
