"""Optimisers for models with parameters on hyperbolic space."""

from hypeeg.optim.base import RiemannianOptimizer
from hypeeg.optim.curvature import consistent_gradient, move_points_
from hypeeg.optim.riemannian import RiemannianAdamW

__all__ = ["RiemannianAdamW", "RiemannianOptimizer", "consistent_gradient", "move_points_"]
