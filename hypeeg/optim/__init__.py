"""Optimisers for models with parameters on hyperbolic space."""

from hypeeg.optim.base import RiemannianOptimizer
from hypeeg.optim.clip import clip_grad_norm_, riemannian_grad_norm
from hypeeg.optim.curvature import consistent_gradient, move_points_
from hypeeg.optim.ema import EMA
from hypeeg.optim.interop import from_geoopt
from hypeeg.optim.riemannian import RiemannianAdam, RiemannianAdamW
from hypeeg.optim.sam import SAM, RiemannianSAM
from hypeeg.optim.scope import ScopeSharpness, scope_sharpness
from hypeeg.optim.sgd import RiemannianSGD
from hypeeg.optim.sharpness import SharpnessAwareCurvature

__all__ = [
    "EMA",
    "SAM",
    "RiemannianAdam",
    "RiemannianAdamW",
    "RiemannianOptimizer",
    "RiemannianSAM",
    "RiemannianSGD",
    "ScopeSharpness",
    "SharpnessAwareCurvature",
    "clip_grad_norm_",
    "consistent_gradient",
    "from_geoopt",
    "move_points_",
    "riemannian_grad_norm",
    "scope_sharpness",
]
