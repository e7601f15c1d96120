"""Groups of classes in the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hypeeg.training.losses import WeightedCrossEntropy, class_group_codes

CLASSES = np.array(["13", "17", "21", "rest"])
STIMULI = {"stimulus": ["13", "17", "21"]}


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 0.5, 1.0])])
def test_the_cross_entropy_of_the_groups_is_added(weights):
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((10, 4))
    y = rng.integers(0, 4, 10)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    stimulus = p[:, :3].sum(1)
    group = np.where(y == 3, p[:, 3], stimulus)
    w = np.ones(10) if weights is None else weights[y]
    expected = -(w * (np.log(p[np.arange(10), y]) + np.log(group))).mean()
    loss = WeightedCrossEntropy(weights, class_group_codes(STIMULI, CLASSES))
    given = torch.tensor(logits, requires_grad=True)
    loss = loss.double()
    value = loss(given, torch.tensor(y))
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert torch.autograd.gradcheck(lambda z: loss(z, torch.tensor(y)), given)


def test_extreme_logits_have_finite_gradients():
    loss = WeightedCrossEntropy(groups=class_group_codes(STIMULI, CLASSES))
    logits = torch.tensor([[200.0, -200.0, 0.0, -300.0]], requires_grad=True)
    loss(logits, torch.tensor([3])).backward()
    assert torch.isfinite(logits.grad).all()


def test_codes():
    assert class_group_codes(None, CLASSES) is None
    assert class_group_codes(STIMULI, CLASSES).tolist() == [0, 0, 0, 1]
    assert class_group_codes({"low": ["13"], "13": ["17"]}, CLASSES).tolist() == [0, 1, 2, 3]
    assert class_group_codes({"rest": ["17"]}, np.array(["17", "rest"])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"stimulus": ["13", "19"]}, "names the label '19', which is not in y"),
        ({"a": ["13"], "b": ["13", "17"]}, "'13' in 'a' and 'b'"),
        ({"all": ["13", "17", "21", "rest"]}, "into one group"),
        ({"a": "13"}, "dict of lists"),
        (["13"], "dict of lists"),
    ],
)
def test_wrong_groups(groups, message):
    with pytest.raises(ValueError, match=message):
        class_group_codes(groups, CLASSES)


def test_a_fit_learns_groups_better_than_classes(hyperbolic, blobs):
    """With a network too small for all, the groups are where it puts its effort."""
    X, y = blobs
    options = {"max_epochs": 3, "random_state": 0}
    plain = hyperbolic(**options).fit(X, y)
    groups = {"hands": ["left", "right"]}
    grouped = hyperbolic(class_groups=groups, **options).fit(X, y)
    rest = [list(plain.classes_).index("rest")]

    def group_loss(clf):
        p = clf.predict_proba(X)[:, rest].sum(1)
        return -np.log(np.where(y == "rest", p, 1 - p)).mean()

    assert group_loss(grouped) < group_loss(plain)
    with pytest.raises(ValueError, match="not in y"):
        hyperbolic(class_groups={"a": ["foot"]}).fit(X, y)
