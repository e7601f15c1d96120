"""Attention: masks, dropout, equivariance, layouts; the contract compares values with an oracle."""

from __future__ import annotations

import math

import pytest
import torch
from cases_norm import attend
from contract import randomise, sample_points

from hypeeg.geometry import Lorentz
from hypeeg.nn import LorentzMultiheadAttention


def make(kind: str = "full", c: float = 0.7, **options) -> LorentzMultiheadAttention:
    torch.manual_seed(0)
    layer = LorentzMultiheadAttention(6, 2, manifold=Lorentz(c), kind=kind, **options).double()
    randomise(layer)
    return layer


def tokens(length: int, seed: int = 0, c: float = 0.7) -> torch.Tensor:
    return sample_points(Lorentz(c), (2, length, 6), seed=seed)


@pytest.mark.parametrize("kind", ["full", "linear"])
def test_cross_attention(kind: str) -> None:
    layer = make(kind)
    q, k, v = tokens(3), tokens(5, 1), tokens(5, 2)
    torch.testing.assert_close(layer(q, k, v), attend(layer, q, 0.7, k, v))
    torch.testing.assert_close(layer(q, k), attend(layer, q, 0.7, k))
    torch.testing.assert_close(layer(q[0], k[0], v[0]), layer(q, k, v)[0])


@pytest.mark.parametrize("kind", ["full", "linear"])
def test_padded_keys_have_no_influence(kind: str) -> None:
    layer = make(kind)
    q, k = tokens(3), tokens(5, 1)
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[:, 3:] = True
    masked = layer(q, k, key_padding_mask=padding)
    torch.testing.assert_close(masked, layer(q, k[:, :3]))


def test_masks_of_pairs() -> None:
    layer = make()
    x = tokens(4)
    causal = layer(x, is_causal=True)
    for i in range(4):
        torch.testing.assert_close(causal[:, i], layer(x[:, i : i + 1], x[:, : i + 1])[:, 0])
    above = torch.ones(4, 4, dtype=torch.bool).triu(1)
    torch.testing.assert_close(layer(x, attn_mask=above), causal)
    added = torch.zeros(4, 4, dtype=torch.float64).masked_fill(above, -math.inf)
    torch.testing.assert_close(layer(x, attn_mask=added), causal)
    padding = torch.tensor([[False, False, False, True]] * 2)
    both = layer(x, attn_mask=added, key_padding_mask=padding)
    torch.testing.assert_close(both[:, :3], layer(x[:, :3], is_causal=True))
    torch.testing.assert_close(
        both, layer(x, attn_mask=above, key_padding_mask=padding), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("kind", ["full", "linear"])
def test_a_query_without_keys_goes_to_the_origin(kind: str) -> None:
    layer = make(kind)
    x = tokens(3).requires_grad_()
    padding = torch.tensor([[True] * 3, [False] * 3])
    y = layer(x, key_padding_mask=padding)
    torch.testing.assert_close(y[0], layer.out(torch.zeros(3, 6, dtype=torch.float64)))
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("kind", ["full", "linear"])
def test_order_of_keys_does_not_matter(kind: str) -> None:
    layer = make(kind)
    q, k = tokens(3), tokens(7, 1)
    torch.testing.assert_close(layer(q, k), layer(q, k[:, torch.randperm(7)]))


def test_a_large_scale_attends_to_the_nearest_key() -> None:
    layer = make()
    with torch.no_grad():
        layer.log_scale.fill_(12.0)
    q, k = tokens(3), tokens(5, 1)
    m = layer.manifold
    expected = []
    parts = [p.unflatten(-1, (2, 3)) for p in (layer.query(q), layer.key(k), layer.value(k))]
    for h in range(2):
        qh, kh, vh = (p[..., h, :] for p in parts)
        nearest = m.dist_pairwise(qh, kh).argmin(-1)
        expected.append(torch.gather(vh, 1, nearest.unsqueeze(-1).expand(-1, -1, 3)))
    torch.testing.assert_close(
        layer(q, k), layer.out(torch.cat(expected, -1)), rtol=1e-6, atol=1e-8
    )


def test_dropout_leaves_weights_out_in_training_only() -> None:
    layer = make(dropout=0.5)
    x = tokens(6)
    torch.testing.assert_close(layer.eval()(x), attend(layer, x, 0.7))
    layer.train()
    torch.manual_seed(0)
    y = layer(x)
    assert torch.isfinite(y).all()
    assert not torch.allclose(y, layer.eval()(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(kind="quadratic"), "kind must be one of"),
        (lambda: LorentzMultiheadAttention(6, 4, manifold=Lorentz()), "num_heads must divide"),
        (lambda: make(dropout=1.0), r"dropout must lie in \[0, 1\)"),
        (lambda: make("linear", dropout=0.1), "no weights to drop"),
        (lambda: make("linear")(tokens(3), is_causal=True), "key_padding_mask only"),
        (lambda: make()(tokens(3)[..., :4]), r"\(N, L, 6\)"),
        (lambda: make()(tokens(3), key_padding_mask=torch.zeros(2, 3)), "must be boolean"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
