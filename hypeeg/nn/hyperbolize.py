"""Any network's final layer as a hyperbolic head."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from hypeeg.geometry import Lorentz
from hypeeg.nn.heads import LorentzMLR, LorentzPrototypes
from hypeeg.nn.linear import working_dtype
from hypeeg.nn.pointwise import rescale_tangent

Head = Literal["mlr", "prototypes"]

# Where models keep their classifier: braindecode; torchvision's ResNet, VGG, ViT and Swin.
_NAMES = ("final_layer", "fc", "classifier", "heads", "head")


class HyperbolicHead(nn.Module):
    r"""From Euclidean features to logits by way of the hyperboloid.

    Features are scaled, lifted by the exponential map at the origin and rescaled to the maximum
    distance; a Lorentz head classifies the points. With the ``"mlr"`` head the scales of lift,
    rescaling and logits cancel as ``c -> 0``, where the head becomes a linear layer.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_outputs : int
        Number of classes.
    manifold : Lorentz
        Manifold of the points.
    head : {"mlr", "prototypes"}, default "mlr"
    scale : float, optional
        Factor on the features before the lift; by default one over the square root of their number,
        with which features of unit variance lie at distance 1.
    slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.
    embedding_dim : int, optional
        Dimension of the points; a linear layer leads to it. By default that of the features.

    Attributes
    ----------
    bottleneck : nn.Linear or nn.Identity
    classifier : LorentzMLR or LorentzPrototypes
        Its input is the embedding.

    Raises
    ------
    ValueError
        If the head is unknown or ``embedding_dim`` is not positive.

    Notes
    -----
    Input ``(..., in_features)``, output ``(..., n_outputs)``.
    """

    def __init__(
        self,
        in_features: int,
        n_outputs: int,
        *,
        manifold: Lorentz,
        head: Head = "mlr",
        scale: float | None = None,
        slope: float = 3.0,
        embedding_dim: int | None = None,
    ) -> None:
        super().__init__()
        if head not in get_args(Head):
            raise ValueError(f"head must be one of {get_args(Head)}; got {head!r}")
        dim = in_features if embedding_dim is None else embedding_dim
        if dim < 1:
            raise ValueError(f"embedding_dim must be positive; got {embedding_dim}")
        self.in_features, self.out_features = in_features, n_outputs
        scale = 1 / math.sqrt(dim) if scale is None else scale
        if not scale > 0:
            raise ValueError(f"scale must be positive; got {scale}")
        if not slope >= 2.65:
            raise ValueError(f"slope must be at least 2.65, or small norms grow; got {slope}")
        # Lift and rescaling shrink short features by this factor; the head undoes it.
        self.shrink = scale * math.atanh(0.99) / slope
        self.bottleneck = nn.Identity() if embedding_dim is None else nn.Linear(in_features, dim)
        self.classifier: LorentzMLR | LorentzPrototypes
        if head == "mlr":
            self.classifier = LorentzMLR(
                dim, n_outputs, manifold=manifold, temperature=1 / self.shrink
            )
        else:
            self.classifier = LorentzPrototypes(
                dim, n_outputs, manifold=manifold, temperature=self.shrink**2
            )

    @property
    def manifold(self) -> Lorentz:
        """Manifold of the points."""
        return self.classifier.manifold

    def points(self, x: Tensor) -> Tensor:
        """Return the embedding of features: space parts ``(..., n)``."""
        z: Tensor = self.bottleneck(x)
        with torch.autocast(x.device.type, enabled=False):
            z = z.to(working_dtype(next(self.classifier.parameters(recurse=False)))) * self.shrink
            # Rescaled before the exponential map, which would overflow on long features.
            return self.manifold.expmap0(rescale_tangent(z, self.manifold.c))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of features."""
        logits: Tensor = self.classifier(self.points(x))
        return logits

    @torch.no_grad()
    def copy_linear_(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take the directions and offsets of a linear layer, equal to it as ``c -> 0``.

        Parameters
        ----------
        weight : Tensor, shape (n_outputs, in_features)
        bias : Tensor, shape (n_outputs,), or None

        Raises
        ------
        ValueError
            If the head is not ``"mlr"`` without bottleneck, or a row of the weight is zero.
        """
        head = self.classifier
        if not isinstance(head, LorentzMLR) or not isinstance(self.bottleneck, nn.Identity):
            raise ValueError(
                'copy_weights needs head="mlr" and embedding_dim=None: other heads hold no linear '
                "layer"
            )
        length = torch.linalg.vector_norm(weight, dim=-1)
        if not bool((length > 0).all()):
            raise ValueError(
                "copy_weights needs nonzero weights for every class: a hyperplane without a "
                "direction cannot be learned. Use copy_weights=False."
            )
        head.weight.copy_(weight)
        if bias is not None:
            # The logit of a linear layer is <f, z> + b, that of the head <f, z> - a |z| / shrink.
            head.bias.copy_(-bias * self.shrink / length)


class HyperbolicConvHead(HyperbolicHead):
    """A hyperbolic head at each position of a map, in the place of a convolution that classifies.

    Parameters
    ----------
    conv : nn.Conv1d or nn.Conv2d
        The layer whose patches are the features; its weights are not used.
    n_outputs : int
        Number of classes.
    manifold : Lorentz
    **options
        Those of :class:`HyperbolicHead`.

    Notes
    -----
    Input ``(N, C, L)`` or ``(N, C, H, W)``, output ``(N, n_outputs, ...)`` of the size the
    convolution gives. A patch is one point, of ``C`` times the kernel's size dimensions, the
    concatenation of its positions; padding is the origin.
    """

    def __init__(
        self,
        conv: nn.Conv1d | nn.Conv2d,
        n_outputs: int,
        *,
        manifold: Lorentz,
        **options: Any,
    ) -> None:
        in_features = conv.in_channels * math.prod(conv.kernel_size)
        super().__init__(in_features, n_outputs, manifold=manifold, **options)
        self.n_axes = len(conv.kernel_size)
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.dilation = conv.dilation
        self.pad = tuple(conv._reversed_padding_repeated_twice)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of each patch."""
        x = F.pad(x, self.pad)
        for axis in range(self.n_axes):
            # Positions stay at their axis, the kernel's come last, in the order of its axes.
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            x = x.unfold(2 + axis, reach, self.stride[axis])[..., :: self.dilation[axis]]
        patches = x.movedim(1, 1 + self.n_axes).flatten(1 + self.n_axes)
        return super().forward(patches).movedim(-1, 1)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"


def hyperbolize(
    module: nn.Module,
    *,
    head: Head = "mlr",
    manifold: Lorentz | None = None,
    c: float = 1.0,
    learnable_curvature: bool = True,
    scale: float | None = None,
    slope: float = 3.0,
    embedding_dim: int | None = None,
    n_outputs: int | None = None,
    copy_weights: bool = False,
    layer: str | None = None,
) -> nn.Module:
    """Replace the final layer of a network by a hyperbolic head, in place.

    Parameters
    ----------
    module : nn.Module
        A braindecode or torchvision model, or any module that names its classifier
        ``final_layer``, ``fc``, ``classifier``, ``heads`` or ``head``, or an ``nn.Sequential``. The
        layer with weights that is last there is replaced: an ``nn.Linear``, ``nn.Conv1d`` or
        ``nn.Conv2d``; each one of an ``nn.ModuleList``. Parametrisations of its weight without
        parameters of their own, such as braindecode's max-norm, go over to the directions of the
        ``"mlr"`` head.
    head : {"mlr", "prototypes"}, default "mlr"
    manifold : Lorentz, optional
        Manifold of the points; by default a new one of curvature ``-c``.
    c : float, default 1.0
        Initial curvature magnitude of a new manifold.
    learnable_curvature : bool, default True
        Whether the curvature of a new manifold is learned.
    scale, slope, embedding_dim
        See :class:`HyperbolicHead`.
    n_outputs : int, optional
        Number of classes; by default that of the layer.
    copy_weights : bool, default False
        Whether the ``"mlr"`` head takes over weights and biases. The network then is the original
        one as ``c -> 0``.
    layer : str, optional
        Dotted name of the layer to replace, where it is not found or another one is meant.

    Returns
    -------
    nn.Module
        ``module`` itself, or the head if ``module`` is the layer.

    Raises
    ------
    ValueError
        If there is no layer that can be replaced; the message says what was found.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ELU(), nn.Linear(8, 3))
    >>> net = hyperbolize(net, c=0.5)
    >>> type(net[-1].classifier).__name__
    'LorentzMLR'
    >>> net(torch.randn(2, 3, 4)).shape
    torch.Size([2, 3])
    """
    if head not in get_args(Head):
        raise ValueError(f"head must be one of {get_args(Head)}; got {head!r}")
    if copy_weights and (n_outputs is not None or head != "mlr" or embedding_dim is not None):
        raise ValueError(
            'copy_weights=True keeps the classes and needs head="mlr", embedding_dim=None and '
            "n_outputs=None"
        )
    names = _find(module) if layer is None else [layer]
    manifold = Lorentz(c, learnable_curvature) if manifold is None else manifold
    for name in names:
        try:
            old = module.get_submodule(name)
        except AttributeError as error:
            raise ValueError(f"layer={name!r}: {error}") from error
        old = _checked(module, name, old, given=layer is not None)
        weight = old.weight
        classes = weight.shape[0] if n_outputs is None else n_outputs
        options: dict[str, Any] = {"manifold": manifold, "head": head, "scale": scale}
        options |= {"slope": slope, "embedding_dim": embedding_dim}
        new: HyperbolicHead
        if isinstance(old, nn.Linear):
            new = HyperbolicHead(old.in_features, classes, **options)
        else:
            new = HyperbolicConvHead(old, classes, **options)
        new = new.to(weight.device, torch.promote_types(weight.dtype, torch.float32))
        if copy_weights:
            new.copy_linear_(weight.flatten(1), old.bias)
        _keep_constraints(old, new.classifier, copy_weights)
        new.train(old.training)
        if not name:
            return new
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, new)
    return module


_REMEDY = 'Name the layer: hyperbolize(module, layer="dotted.name").'


def _find(module: nn.Module) -> list[str]:
    for name in _NAMES:
        part = getattr(module, name, None)
        if isinstance(part, nn.Module) and any(True for _ in part.parameters()):
            return _last(part, name)
    if isinstance(module, nn.Sequential | nn.Linear | nn.Conv1d | nn.Conv2d):
        return _last(module, "")
    raise ValueError(
        f"{type(module).__name__} has no layer with weights named {', '.join(_NAMES[:-1])} or "
        f"{_NAMES[-1]}. " + _REMEDY
    )


def _last(part: nn.Module, name: str) -> list[str]:
    """Return the name of the last layer with weights; the names of all in a list of layers."""
    if isinstance(part, nn.Linear | nn.modules.conv._ConvNd):
        return [name]
    prefix = f"{name}." if name else ""
    children = [
        (prefix + key, child)
        for key, child in part.named_children()
        if key != "parametrizations" and any(True for _ in child.parameters())
    ]
    if not children or isinstance(part, nn.MultiheadAttention):
        where = name or "the module"
        raise ValueError(
            f"{where} ends in {type(part).__name__}, which is no nn.Linear, nn.Conv1d or nn.Conv2d "
            f"layer. {_REMEDY}"
        )
    if isinstance(part, nn.ModuleList):
        return [found for key, child in children for found in _last(child, key)]
    return _last(children[-1][1], children[-1][0])


def _checked(
    module: nn.Module, name: str, old: nn.Module, *, given: bool
) -> nn.Linear | nn.Conv1d | nn.Conv2d:
    what = f"{name or 'the module'} is {type(old).__name__}"
    if not isinstance(old, nn.Linear | nn.Conv1d | nn.Conv2d):
        raise ValueError(f"{what}; only nn.Linear, nn.Conv1d and nn.Conv2d can be replaced")
    if isinstance(old.weight, UninitializedParameter):
        raise ValueError(f"{what} without weights yet: run the network once, then replace it")
    if not isinstance(old, nn.Linear) and (old.groups != 1 or old.padding_mode != "zeros"):
        raise ValueError(
            f"{what} with groups={old.groups}, padding_mode={old.padding_mode!r}; a head needs "
            "groups=1 and zero padding"
        )
    classes = getattr(module, "n_outputs", None)
    if not given and isinstance(classes, int) and old.weight.shape[0] != classes:
        raise ValueError(
            f"{what} with {old.weight.shape[0]} outputs, but the network has n_outputs={classes}. "
            + _REMEDY
        )
    return old


def _keep_constraints(
    old: nn.Module, head: LorentzMLR | LorentzPrototypes, copy_weights: bool
) -> None:
    if not isinstance(head, LorentzMLR) or not parametrize.is_parametrized(old, "weight"):
        return
    parts: Any = old.parametrizations["weight"]  # type: ignore[index]
    if not parts.is_tensor or any(True for part in parts for _ in part.parameters()):
        return  # weight norm and the like: not a constraint, another parametrisation
    for part in parts:
        parametrize.register_parametrization(head, "weight", copy.deepcopy(part))
    if copy_weights:
        kept: Any = head.parametrizations["weight"]  # type: ignore[index]
        with torch.no_grad():
            kept.original.copy_(parts.original.flatten(1))
