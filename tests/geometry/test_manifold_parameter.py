"""Parameters on a manifold: what they keep through copies, files, moves, DDP and optimisers."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hypeeg.geometry import CurvatureParameter, Lorentz, ManifoldParameter, lorentz, rescaling


class Layer(nn.Module):
    """Distances to points; a stand-in for the layers of the package."""

    def __init__(self, manifold):
        super().__init__()
        self.manifold = manifold
        self.points = ManifoldParameter(torch.randn(2, 2), manifold=manifold)

    def forward(self, x):
        return self.manifold.dist_pairwise(x, self.points)


def make_model():
    torch.manual_seed(0)
    manifold = Lorentz(0.5, learnable=True)
    return nn.ModuleList([Layer(manifold), Layer(manifold)])


def assert_one_manifold(model):
    """Both layers and both parameters refer to one manifold and so to one curvature."""
    first, second = model
    assert first.manifold is second.manifold
    assert first.points.manifold is second.points.manifold is first.manifold
    assert first.points.manifold.curvature.log_c is second.manifold.curvature.log_c
    assert len([p for p in model.parameters() if isinstance(p, CurvatureParameter)]) == 1
    assert len(list(model.parameters())) == 3


def through_file(model):
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


DUPLICATES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "torch.save": through_file,
}


@pytest.mark.parametrize("how", DUPLICATES)
def test_copies_of_models_share_one_copied_manifold(how):
    model = make_model()
    model[1].points.requires_grad_(False)
    assert_one_manifold(model)
    other = DUPLICATES[how](model)
    assert_one_manifold(other)
    assert other[0].manifold is not model[0].manifold
    assert other[0].points.data_ptr() != model[0].points.data_ptr()
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert type(mine) is type(theirs)
        assert torch.equal(mine, theirs)
        assert mine.requires_grad == theirs.requires_grad
    # Learning one does not touch the other.
    other[0](torch.randn(4, 2)).sum().backward()
    with torch.no_grad():
        other[0].manifold.curvature.log_c.add_(1.0)
    assert model[0].manifold.curvature.value == pytest.approx(0.5)
    assert other[1].points.manifold.curvature.value == pytest.approx(0.5 * 2.718281828459045)


@pytest.mark.parametrize("how", DUPLICATES)
def test_a_parameter_alone_takes_its_manifold_along(how):
    point = ManifoldParameter(torch.randn(2, 3), manifold=Lorentz(0.3), requires_grad=False)
    other = DUPLICATES[how](point)
    assert isinstance(other, ManifoldParameter)
    assert other.manifold.curvature.value == pytest.approx(0.3)
    assert other.manifold is not point.manifold
    assert torch.equal(other, point)
    assert not other.requires_grad


def test_shallow_copy_shares():
    point = ManifoldParameter(torch.randn(2, 3), manifold=Lorentz())
    other = copy.copy(point)
    assert other is not point
    assert other.manifold is point.manifold
    assert other.data_ptr() == point.data_ptr()


def test_tied_parameters_stay_tied():
    model = make_model()
    model[1].points = model[0].points
    other = copy.deepcopy(model)
    assert other[0].points is other[1].points


@pytest.mark.parametrize(
    ("move", "dtype"),
    [
        (lambda m: m.double(), torch.float64),
        (lambda m: m.half(), torch.float16),
        (lambda m: m.to("cpu", torch.bfloat16), torch.bfloat16),
    ],
)
def test_moves_keep_type_and_sharing(move, dtype):
    model = make_model()
    before = model[0].points
    moved = move(model)
    assert moved[0].points is before
    assert moved[0].points.dtype == dtype
    assert isinstance(before, ManifoldParameter)
    assert_one_manifold(moved)
    assert moved[0].manifold.curvature.log_c.dtype == torch.float64
    out = moved[0](torch.randn(4, 2, dtype=dtype))
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_registration_and_state():
    model = make_model()
    names = [name for name, _ in model.named_parameters()]
    assert names == ["0.points", "0.manifold.curvature.log_c", "1.points"]
    state = model.state_dict()
    assert set(state) == {*names, "1.manifold.curvature.log_c"}
    assert all(type(value) is torch.Tensor for value in state.values())
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    torch.manual_seed(1)
    manifold = Lorentz(3.0)
    other = nn.ModuleList([Layer(manifold), Layer(manifold)])
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(other[1].points, model[1].points)
    assert isinstance(other[1].points, ManifoldParameter)
    assert other[1].points.manifold is manifold
    assert manifold.curvature.value == pytest.approx(0.5)


def test_torch_adamw_accepts_it():
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    model[1](model[0](torch.randn(4, 2))).sum().backward()
    optimizer.step()
    for old, new in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, new)
    assert isinstance(model[0].points, ManifoldParameter)
    assert_one_manifold(model)


def test_functional_call_and_per_sample_gradients():
    layer = make_model()[0]
    x = torch.randn(5, 2)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    torch.testing.assert_close(torch.func.functional_call(layer, parameters, (x,)), layer(x))

    def loss(parameters, sample):
        return torch.func.functional_call(layer, parameters, (sample[None],)).sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    layer(x).sum().backward()
    torch.testing.assert_close(each["points"].sum(0), layer.points.grad)
    log_c = layer.manifold.curvature.log_c
    torch.testing.assert_close(each["manifold.curvature.log_c"].sum(0), log_c.grad)


def test_results_of_operations_are_plain_tensors():
    point = ManifoldParameter(torch.randn(2, 3), manifold=Lorentz())
    for value in (point + 1, point.detach(), point.data, point.clone(), point[0]):
        assert type(value) is torch.Tensor
    assert isinstance(point, nn.Parameter)
    assert point.is_leaf


def test_repr_names_the_manifold():
    shown = repr(ManifoldParameter(torch.zeros(1, 2), manifold=Lorentz(0.3)))
    assert shown.startswith("ManifoldParameter on Lorentz(")
    assert "c=0.3" in shown
    assert "tensor([[0., 0.]])" in shown


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"must be a Lorentz, .* instance; got float"):
        ManifoldParameter(torch.zeros(2), manifold=1.0)
    with pytest.raises(ValueError, match="0-dimensional"):
        ManifoldParameter(torch.zeros(()), manifold=Lorentz())


def test_distributed_data_parallel(tmp_path):
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1
    )
    try:
        whole = nn.Sequential(*make_model())
        x = torch.randn(4, 2)
        parallel = DistributedDataParallel(whole)
        parallel(x).sum().backward()
        gradients = [p.grad.clone() for p in whole.parameters()]
        assert isinstance(whole[0].points, ManifoldParameter)
        assert_one_manifold(whole)
    finally:
        dist.destroy_process_group()
    alone = copy.deepcopy(whole)
    for p in alone.parameters():
        p.grad = None
    alone(x).sum().backward()
    for expected, got in zip(alone.parameters(), gradients, strict=True):
        torch.testing.assert_close(got, expected.grad)


def test_manifold_methods_are_the_functions():
    """Every method of the manifold binds its own function to its own curvature."""
    generator = torch.Generator().manual_seed(0)
    x, y, u = (torch.randn(4, 3, generator=generator) for _ in range(3))
    ambient = torch.randn(4, 4, generator=generator)
    m, c = Lorentz(0.3), 0.3
    pairs = {
        "time": (x,),
        "to_ambient": (x,),
        "tangent_to_ambient": (x, u),
        "proj_tangent": (x, ambient),
        "egrad2rgrad": (x, u),
        "inner": (x, u, y),
        "norm": (x, u),
        "dist0": (x,),
        "dist": (x, y),
        "dist_pairwise": (x, y),
        "expmap0": (u,),
        "logmap0": (x,),
        "expmap": (x, u),
        "logmap": (x, y),
        "transp": (x, y, u),
        "transp0": (x, u),
        "transp0back": (x, u),
        "centroid": (x,),
    }
    for name, arguments in pairs.items():
        expected = getattr(lorentz, name)(*arguments, c)
        torch.testing.assert_close(getattr(m, name)(*arguments), expected, rtol=1e-6, atol=1e-7)
    w = torch.rand(4)
    torch.testing.assert_close(m.centroid(x, w), lorentz.centroid(x, c, w))
    torch.testing.assert_close(m.sqdist(x, y), lorentz.sqdist_lorentz(x, y, c))
    torch.testing.assert_close(m.rescale(x, 4.0, 2.0), rescaling.rescale(x, c, 4.0, 2.0))
    torch.testing.assert_close(m.max_dist(), rescaling.max_dist(c))
    torch.testing.assert_close(m.from_poincare(m.to_poincare(x)), x)
    assert torch.equal(m.from_ambient(m.to_ambient(x)), x)
