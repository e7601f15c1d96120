"""What the charts of hyperbolic space share: a curvature and the way to the Lorentz model."""

from __future__ import annotations

from torch import Tensor, nn

from hypeeg.geometry.curvature import BOUNDS, Curvature


class HyperbolicChart(nn.Module):
    """Hyperbolic space of curvature ``-c`` in one system of coordinates.

    Subclasses: :class:`~hypeeg.geometry.Lorentz`, :class:`~hypeeg.geometry.LorentzTangent` and
    :class:`~hypeeg.geometry.PoincareBall`. All have the interface
    :class:`~hypeeg.geometry.Manifold`; tangent vectors are in the coordinates of the chart, and the
    chart maps below lead to space parts of the Lorentz model and back, so that an algorithm written
    there serves every chart.

    Parameters
    ----------
    c : float, default 1.0
        Curvature magnitude.
    learnable : bool, default False
        Whether the curvature is learned.
    curvature : Curvature, optional
        A curvature to share; ``c``, ``learnable`` and ``bounds`` are then its own.
    bounds : tuple of float, default (0.05, 20.0)
        Smallest and largest curvature.
    """

    curvature: Curvature

    def __init__(
        self,
        c: float = 1.0,
        learnable: bool = False,
        *,
        curvature: Curvature | None = None,
        bounds: tuple[float, float] = BOUNDS,
    ) -> None:
        super().__init__()
        self.curvature = Curvature(c, learnable, bounds) if curvature is None else curvature

    @property
    def c(self) -> Tensor:
        """Curvature magnitude, a 0-dimensional tensor."""
        return self.curvature.c

    @property
    def learnable(self) -> bool:
        """Whether the curvature is learned."""
        return self.curvature.learnable

    def to_lorentz(self, p: Tensor) -> Tensor:
        """Space parts ``(..., n)`` of points of this chart."""
        raise NotImplementedError

    def from_lorentz(self, x: Tensor) -> Tensor:
        """Points of this chart from space parts ``(..., n)``, within its domain."""
        raise NotImplementedError

    def gradient_to_lorentz(self, p: Tensor, g: Tensor) -> Tensor:
        """Autograd's gradient in the space part from autograd's gradient ``g`` in ``p``.

        ``c`` is held fixed: the result is ``J^-T g`` with ``J`` the derivative of
        :meth:`to_lorentz`, in closed form.
        """
        raise NotImplementedError

    def projx(self, p: Tensor) -> Tensor:
        """Project coordinates onto the domain of the chart; points inside are left as they are."""
        return p
