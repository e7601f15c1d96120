"""Layers on the hyperboloid. Points are space parts ``(..., n)``."""

from hypeeg.nn.heads import LorentzMLR, LorentzPrototypes
from hypeeg.nn.lift import Lift, Rescale
from hypeeg.nn.linear import LorentzLinear
from hypeeg.nn.mlp import HyperbolicMLP

__all__ = [
    "HyperbolicMLP",
    "Lift",
    "LorentzLinear",
    "LorentzMLR",
    "LorentzPrototypes",
    "Rescale",
]
