"""Multi-head attention between points of the hyperboloid."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.linear import LorentzLinear, working_dtype

AttentionKind = Literal["full", "linear"]


class LorentzMultiheadAttention(nn.Module):
    r"""Multi-head attention with distances for scores and centroids for averages.

    Queries, keys and values are Lorentz linear layers of the inputs, split into heads by their
    space parts: each head is a hyperboloid of dimension ``d = embed_dim / num_heads``. With kind
    ``"full"`` [1]_

    .. math:: w_{ij} = \mathrm{softmax}_j(-s\, d_L^2(q_i, k_j)), \qquad
              d_L^2(q, k) = -2/c - 2\langle q, k\rangle_L,

    with a learned ``s`` for each head. With kind ``"linear"`` [2]_ ``w_ij = f(q_i) . f(k_j)``,
    never written out: time and memory are linear in the length. ``f`` is ``y + sqrt(1 + y^2)`` of
    ``y = s x`` with its coordinates squared at constant length, which focuses it. In both the
    output of a head is the Lorentz centroid of the values with weights ``w_ij``; heads are
    concatenated (space parts side by side) and a Lorentz linear layer ends.

    Parameters
    ----------
    embed_dim : int
        Dimension n of the points.
    num_heads : int
        A divisor of n.
    dropout : float, default 0.0
        Probability with which a weight is left out in training (kind ``"full"``). A query that
        loses all of its keys goes to the origin.
    bias : bool, default True
        Whether the linear layers have offsets.
    manifold : Lorentz
        Manifold of inputs and output.
    kind : {"full", "linear"}, default "full"

    Attributes
    ----------
    query, key, value, out : LorentzLinear
    log_scale : Parameter, shape (num_heads,)
        ``log s``; initially ``-log(d) / 2``, for ``"linear"`` 0.

    Raises
    ------
    ValueError
        For a number of heads that does not divide ``embed_dim``, a dropout outside [0, 1), an
        unknown kind, or an option that the linear kind has not.

    Notes
    -----
    Inputs ``(N, L, n)`` and ``(N, S, n)``, or without N; output ``(N, L, n)``; float32 or float64,
    half precision is raised to float32, also under autocast. The full kind runs through
    ``F.scaled_dot_product_attention``, so its memory is that of the kernel PyTorch chooses. A query
    whose keys are all masked goes to the origin (as ``out`` maps it).

    References
    ----------
    .. [1] W. Chen et al.: Fully hyperbolic neural networks, ACL 2022.
    .. [2] M. Yang et al.: Hypformer, arXiv 2407.01290 (focused linear attention).
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        manifold: Lorentz,
        kind: AttentionKind = "full",
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                f"num_heads must divide embed_dim; got num_heads={num_heads}, embed_dim={embed_dim}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {dropout}")
        if kind not in get_args(AttentionKind):
            raise ValueError(f"kind must be one of {get_args(AttentionKind)}; got {kind!r}")
        if kind == "linear" and dropout:
            raise ValueError(
                f'kind="linear" has no weights to drop; got dropout={dropout}. Use LorentzDropout '
                "on the output."
            )
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.kind = kind
        self.manifold = manifold
        self.query = LorentzLinear(embed_dim, embed_dim, bias, manifold=manifold)
        self.key = LorentzLinear(embed_dim, embed_dim, bias, manifold=manifold)
        self.value = LorentzLinear(embed_dim, embed_dim, bias, manifold=manifold)
        self.out = LorentzLinear(embed_dim, embed_dim, bias, manifold=manifold)
        start = -math.log(self.head_dim) / 2 if kind == "full" else 0.0
        self.log_scale = nn.Parameter(torch.full((num_heads,), start))

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the attended points.

        Parameters
        ----------
        query : Tensor, shape (N, L, n) or (L, n)
        key, value : Tensor, shape (N, S, n) or (S, n), optional
            The query and the key by default.
        key_padding_mask : Tensor, shape (N, S) or (S,), optional
            True (boolean) where a key is left out, as in ``torch.nn.MultiheadAttention``.
        attn_mask : Tensor, shape (L, S) or (N, num_heads, L, S), optional
            Boolean, True where a pair is left out, or numbers that are added to the scores.
        is_causal : bool, default False
            Whether a query sees only keys at or before its place.

        Returns
        -------
        Tensor, shape (N, L, n) or (L, n)
        """
        key = query if key is None else key
        value = key if value is None else value
        if self.kind == "linear" and (attn_mask is not None or is_causal):
            raise ValueError('kind="linear" takes a key_padding_mask only; use kind="full"')
        if query.shape[-1] != self.embed_dim:
            raise ValueError(
                f"query must have shape (N, L, {self.embed_dim}); got {tuple(query.shape)}"
            )
        with torch.autocast(query.device.type, enabled=False):
            dtype = working_dtype(self.log_scale)
            q, k, v = self.query(query), self.key(key), self.value(value)
            q, k, v = (self._split(t.to(dtype)) for t in (q, k, v))
            c = self.manifold.c.to(dtype)
            scale = self.log_scale.to(dtype).exp().view(-1, 1, 1)
            # Weights are positive, so the time part of the sum bounds its norm from below.
            values = torch.cat([v, _time(v, c), torch.ones_like(v[..., :1])], dim=-1)
            if self.kind == "linear":
                sums = _linear(q * scale, k * scale, values, key_padding_mask)
            else:
                mask = self._mask(q, k, key_padding_mask, attn_mask, is_causal)
                # <q, k> up to a number for each query, which softmax ignores: the time of a key
                # beyond that of the origin, |k|^2 / (k_t + o_t), does not cancel as c -> 0.
                excess = (k * k).sum(-1, keepdim=True) / (_time(k, c) + 1 / torch.sqrt(c))
                q = torch.cat([q, -_time(q, c)], dim=-1) * (2 * scale)
                k = torch.cat([k, excess], dim=-1)
                drop = self.dropout if self.training else 0.0
                sums = F.scaled_dot_product_attention(
                    q, k, values, attn_mask=mask, dropout_p=drop, scale=1.0
                )
            points = _centroid(sums, c)
            joined = points.transpose(-2, -3).flatten(-2)
            result: Tensor = self.out(joined)
            return result

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.num_heads, self.head_dim).transpose(-2, -3)

    def _mask(
        self,
        q: Tensor,
        k: Tensor,
        key_padding_mask: Tensor | None,
        attn_mask: Tensor | None,
        is_causal: bool,
    ) -> Tensor | None:
        length, keys = q.shape[-2], k.shape[-2]
        allowed: Tensor | None = None
        if key_padding_mask is not None:
            allowed = ~_boolean("key_padding_mask", key_padding_mask)[..., None, None, :]
        if is_causal:
            causal = torch.ones(length, keys, dtype=torch.bool, device=q.device).tril()
            allowed = causal if allowed is None else allowed & causal
        if attn_mask is None:
            return allowed
        if attn_mask.dtype == torch.bool:
            return ~attn_mask if allowed is None else allowed & ~attn_mask
        added = attn_mask.to(q.dtype)
        return added if allowed is None else added.masked_fill(~allowed, -math.inf)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, dropout={self.dropout}, "
            f"kind={self.kind!r}"
        )


def _boolean(name: str, mask: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        raise ValueError(f"{name} must be boolean, True where a key is left out; got {mask.dtype}")
    return mask


def _time(x: Tensor, c: Tensor) -> Tensor:
    return torch.sqrt(1 / c + (x * x).sum(-1, keepdim=True))


def _focus(x: Tensor) -> Tensor:
    # exp(asinh(x)): positive, and far from underflow for every point within reach
    larger = torch.sqrt(1 + x * x) + x.abs()
    f = torch.where(x >= 0, larger, 1 / larger)
    squared = f * f
    size = torch.linalg.vector_norm(f, dim=-1, keepdim=True)
    focused: Tensor = squared * (size / torch.linalg.vector_norm(squared, dim=-1, keepdim=True))
    return focused


def _linear(q: Tensor, k: Tensor, values: Tensor, key_padding_mask: Tensor | None) -> Tensor:
    q, k = _focus(q), _focus(k)
    if key_padding_mask is not None:
        left_out = _boolean("key_padding_mask", key_padding_mask)[..., None, :, None]
        k = k.masked_fill(left_out, 0.0)
    # One scale for all keys cancels in the centroid, and keeps the sums in range.
    k = k / k.shape[-2]
    return q @ (k.mT @ values)


def _centroid(sums: Tensor, c: Tensor) -> Tensor:
    """Return the centroids from weighted sums of space parts, time parts and ones."""
    total = sums[..., -1:]
    empty = ~(total > 0)  # all keys masked or dropped
    total = torch.where(empty, 1.0, total)
    space = torch.where(empty, 0.0, sums[..., :-2] / total)
    time = torch.where(empty, 1 / torch.sqrt(c), sums[..., -2:-1] / total)
    squared = c * (time * time - (space * space).sum(-1, keepdim=True))
    # At least 1 on the hyperboloid: what rounding takes away is put back, the gradient is kept.
    squared = squared + (squared.clamp(min=1.0) - squared).detach()
    return space / torch.sqrt(squared)
