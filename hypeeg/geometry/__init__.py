"""Hyperbolic geometry: pure functions on space parts, curvature, manifold, parameters."""

from hypeeg.geometry.curvature import Curvature, CurvatureParameter
from hypeeg.geometry.manifold import Lorentz, ManifoldParameter

__all__ = ["Curvature", "CurvatureParameter", "Lorentz", "ManifoldParameter"]
