"""Hyperbolic geometry: pure functions, curvature, manifolds in several charts, parameters."""

from hypeeg.geometry.base import HyperbolicChart
from hypeeg.geometry.charts import LorentzTangent, PoincareBall
from hypeeg.geometry.curvature import Curvature, CurvatureParameter
from hypeeg.geometry.euclidean import Euclidean
from hypeeg.geometry.manifold import Lorentz
from hypeeg.geometry.parameter import KeepsManifoldParameters, ManifoldParameter
from hypeeg.geometry.pca import TangentPCA, tangent_pca
from hypeeg.geometry.product import Product, ProductParameter
from hypeeg.geometry.protocol import Manifold
from hypeeg.geometry.wrapped_normal import WrappedNormal

__all__ = [
    "Curvature",
    "CurvatureParameter",
    "Euclidean",
    "HyperbolicChart",
    "KeepsManifoldParameters",
    "Lorentz",
    "LorentzTangent",
    "Manifold",
    "ManifoldParameter",
    "PoincareBall",
    "Product",
    "ProductParameter",
    "TangentPCA",
    "WrappedNormal",
    "tangent_pca",
]
