"""The registry of models, domains, and what single models promise besides the contract."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hypeeg.eeg.models.pieces import TangentRescale
from hypeeg.eeg.models.registry import (
    MODELS,
    backbone_of,
    get_model_class,
    is_hyperbolic,
    twin_of,
)
from hypeeg.geometry import Lorentz
from hypeeg.nn import Lift, LorentzDomainBatchNorm, Rescale, adapt_domain_statistics, use_domain


def test_registry_knows_twins_and_heads() -> None:
    assert twin_of("HyperbolicDeep4Net") == "Deep4Net"
    assert twin_of("LorentzCovarianceNet") == "CovarianceAttentionNet"
    assert twin_of("Hyperbolic(EEGNeX)") == backbone_of("Hyperbolic(EEGNeX)") == "EEGNeX"
    assert backbone_of("HyperbolicEEGNet") is None
    assert is_hyperbolic("Hyperbolic(EEGNeX)")
    assert not is_hyperbolic("CovarianceAttentionNet")
    assert not is_hyperbolic("EEGNet")
    for flat in ("EEGNet", "CovarianceAttentionNet"):
        with pytest.raises(ValueError, match="has no Euclidean twin"):
            twin_of(flat)
    for name, entry in MODELS.items():
        assert get_model_class(name).__name__ == name
        assert entry.twin is None or get_model_class(entry.twin).__name__ == entry.twin


def test_head_on_a_model_by_name() -> None:
    cls = get_model_class("Hyperbolic(EEGNeX)")
    assert cls is get_model_class("Hyperbolic(EEGNeX)")
    assert cls.__name__ == "Hyperbolic(EEGNeX)"
    assert issubclass(cls, get_model_class("EEGNeX"))
    model = cls(n_chans=3, n_outputs=2, n_times=128, embedding_dim=4, head="prototypes").eval()
    assert model(torch.randn(2, 3, 128), return_features=True)["features"].shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Hyperbolic(EEGNex)", r"did you mean .*Hyperbolic\(EEGNeX\)"),
        ("Hyperbolic(HyperbolicEEGNet)", "takes a model of braindecode"),
        ("Hyperbolic()", "takes a model of braindecode"),
        ("HyperbolicDeep4", "did you mean HyperbolicDeep4Net"),
        ("nothing", r"Hyperbolic\(...\) of any model of braindecode"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_model_class(name)


def test_a_model_that_cannot_take_a_head_says_so() -> None:
    with pytest.raises(ValueError, match="Name the layer"):
        get_model_class("Hyperbolic(BDTCN)")(n_chans=3, n_times=512, n_outputs=2)


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tangent_rescale_is_rescale_of_lift_without_the_overflow(c: float, dtype) -> None:
    manifold = Lorentz(c)
    torch.manual_seed(0)
    x = torch.randn(50, 7, dtype=dtype) * torch.logspace(-8, 1, 50, dtype=dtype).unsqueeze(1)
    x[0] = 0
    before = Rescale(manifold, 2.8)(Lift(manifold, 0.6)(x))
    after = Lift(manifold)(TangentRescale(manifold, 0.6, 2.8)(x))
    torch.testing.assert_close(
        after, before, rtol=2e-5 if dtype == torch.float32 else 1e-12, atol=0
    )
    columns = TangentRescale(manifold, 0.6, 2.8, axis=1)(x.T.unsqueeze(0))
    torch.testing.assert_close(columns[0].T, TangentRescale(manifold, 0.6, 2.8)(x))
    far = (1e8 * x).requires_grad_()
    point = Lift(manifold)(TangentRescale(manifold, 0.6, 2.8)(far))
    assert torch.isfinite(point).all()
    assert (manifold.dist0(point) <= manifold.max_dist(dtype) * 1.001).all()
    point.sum().backward()
    assert torch.isfinite(far.grad).all()


def dsbn(n_domains: int) -> nn.Module:
    """Return a network in training mode whose ordinary batch normalisations are fixed."""
    torch.manual_seed(0)
    model = get_model_class("HyperbolicEEGNetDSBN")(
        n_chans=4, n_outputs=2, n_times=160, n_domains=n_domains, drop_prob=0.0
    ).train()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    return model


def test_domains_of_a_batch_are_normalised_apart() -> None:
    model = dsbn(3)
    x = torch.randn(6, 4, 160)
    domain = torch.tensor([0, 0, 0, 2, 2, 2])
    mixed = model(x, domain=domain)
    torch.testing.assert_close(model(x[:3], domain=0), mixed[:3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(x[3:], domain=2), mixed[3:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(x[:3], domain=domain[[0, 0, 3]]), mixed[:3], rtol=1e-3)
    norm = model.domain_norm.layer
    assert isinstance(norm, LorentzDomainBatchNorm)
    assert (norm.num_batches_tracked > 0).tolist() == [True, False, True]
    with use_domain(model, domain):
        features = model(x, return_features=True)["features"]
    torch.testing.assert_close(features, model(x, domain=domain, return_features=True)["features"])


def test_a_domain_is_adapted_from_unlabelled_trials() -> None:
    model = dsbn(2)
    x = torch.randn(8, 4, 160)
    model(x, domain=0)
    model.eval()
    with pytest.raises(ValueError, match=r"not so domain \[1\]"):
        model(x, domain=1)
    with pytest.raises(ValueError, match="domain is missing"):
        model(x)
    kept = copy.deepcopy(model.state_dict())
    shifted = 3 * x  # the new subject's amplitudes
    adapt_domain_statistics(model, [shifted[:4], shifted[4:]], domain=1)
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, kept[k])]
    assert changed
    assert all("domain_norm" in key for key in changed)
    norm = model.domain_norm.layer
    assert torch.equal(norm.running_mean[0], kept["domain_norm.layer.running_mean"][0])
    assert norm.running_dispersion[1] > norm.running_dispersion[0]
    adapted = model(shifted, domain=1, return_features=True)["features"]
    foreign = model(shifted, domain=0, return_features=True)["features"]
    c = model.manifold
    assert c.dist0(adapted).mean() < c.dist0(foreign).mean()


def test_state_names_of_hyperbolic_eegnet_are_those_of_its_first_release() -> None:
    model = get_model_class("HyperbolicEEGNet")(n_chans=4, n_outputs=2, n_times=160)
    ours = {k for k in model.state_dict() if not k.startswith(("conv_", "bnorm_"))}
    assert ours == {
        "lift.manifold.curvature.log_c",
        "rescale.manifold.curvature.log_c",
        "lorentz_linear_0.manifold.curvature.log_c",
        "lorentz_linear_0.weight",
        "lorentz_linear_0.bias",
        "final_layer.manifold.curvature.log_c",
        "final_layer.weight",
        "final_layer.bias",
    }


def test_euclidean_alignment_of_scale_does_not_change_the_lorentz_covariance_of_a_window() -> None:
    """A gain on all channels of all trials is a shift of log-covariances, which is normalised."""
    torch.manual_seed(0)
    model = get_model_class("LorentzCovarianceNet")(
        n_chans=4, n_outputs=2, n_times=160, n_filters=4, embedding_dim=8, drop_prob=0.0
    ).train()
    x = torch.randn(6, 4, 160)
    torch.testing.assert_close(model(10 * x), model(x), rtol=1e-3, atol=1e-3)


def test_points_of_lorentz_eegnet_stay_within_reach() -> None:
    torch.manual_seed(0)
    model = get_model_class("LorentzEEGNet")(n_chans=4, n_outputs=2, n_times=160).train()
    reach: dict[str, float] = {}
    for name in ("temporal", "1", "2"):
        nn.init.constant_(model.get_submodule(f"bnorm_{name}").weight, 9.0)
        model.get_submodule(f"rescale_{name}").register_forward_hook(
            lambda _m, _i, y, name=name: reach.update(
                {name: float(model.manifold.dist0(y.movedim(1, -1)).max())}
            )
        )
    assert torch.isfinite(model(torch.randn(4, 4, 160))).all()
    assert len(reach) == 3
    limit = float(model.manifold.max_dist(torch.float32))
    assert all(0.5 * limit < distance <= 1.001 * limit for distance in reach.values())
