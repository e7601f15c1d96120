"""Layers on the hyperboloid. Points are space parts ``(..., n)``."""

from hypeeg.nn.activation import LorentzActivation, LorentzDropout, LorentzReLU
from hypeeg.nn.attention import LorentzMultiheadAttention
from hypeeg.nn.batchnorm import LorentzBatchNorm1d, LorentzBatchNorm2d
from hypeeg.nn.conv import LorentzConv1d, LorentzConv2d
from hypeeg.nn.core_block import LorentzCoreBlock
from hypeeg.nn.domain import LorentzDomainBatchNorm, adapt_domain_statistics, use_domain
from hypeeg.nn.domain_euclidean import DomainBatchNorm
from hypeeg.nn.heads import LorentzMLR, LorentzPrototypes
from hypeeg.nn.hyperbolize import HyperbolicConvHead, HyperbolicHead, hyperbolize
from hypeeg.nn.layernorm import LorentzLayerNorm, LorentzRMSNorm
from hypeeg.nn.lift import Lift, Rescale
from hypeeg.nn.linear import LorentzLinear
from hypeeg.nn.mlp import HyperbolicMLP
from hypeeg.nn.pooling import (
    LorentzAdaptiveAvgPool1d,
    LorentzAdaptiveAvgPool2d,
    LorentzAvgPool1d,
    LorentzAvgPool2d,
    LorentzGlobalAvgPool,
)
from hypeeg.nn.residual import LorentzFlatten, LorentzResidual, lorentz_concat
from hypeeg.nn.swap import ManifoldChange
from hypeeg.nn.transposed import LorentzConvTranspose1d, LorentzConvTranspose2d

__all__ = [
    "DomainBatchNorm",
    "HyperbolicConvHead",
    "HyperbolicHead",
    "HyperbolicMLP",
    "Lift",
    "LorentzActivation",
    "LorentzAdaptiveAvgPool1d",
    "LorentzAdaptiveAvgPool2d",
    "LorentzAvgPool1d",
    "LorentzAvgPool2d",
    "LorentzBatchNorm1d",
    "LorentzBatchNorm2d",
    "LorentzConv1d",
    "LorentzConv2d",
    "LorentzConvTranspose1d",
    "LorentzConvTranspose2d",
    "LorentzCoreBlock",
    "LorentzDomainBatchNorm",
    "LorentzDropout",
    "LorentzFlatten",
    "LorentzGlobalAvgPool",
    "LorentzLayerNorm",
    "LorentzLinear",
    "LorentzMLR",
    "LorentzMultiheadAttention",
    "LorentzPrototypes",
    "LorentzRMSNorm",
    "LorentzReLU",
    "LorentzResidual",
    "ManifoldChange",
    "Rescale",
    "adapt_domain_statistics",
    "hyperbolize",
    "lorentz_concat",
    "use_domain",
]
