"""Covariances of channel pairs and their normalisation, against scipy, numpy and pyriemann."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pyriemann.geometry.distance import distance_riemann
from scipy.linalg import expm, logm, sqrtm
from scipy.signal import butter, sosfiltfilt

from hypeeg.eeg.models.band_pairs import BandPairs, PlaneNorm, usable_bands
from hypeeg.geometry import Lorentz
from hypeeg.nn import adapt_domain_statistics, use_domain
from hypeeg.nn.recentre import to_origin

SFREQ, N_TIMES = 100.0, 200
BANDS = ((4.0, 8.0), (8.0, 13.0), (20.0, 30.0))
FIRST, SECOND = np.triu_indices(3, 1)


def signals(n: int = 6, n_chans: int = 3, seed: int = 0) -> torch.Tensor:
    """Noise of correlated channels with gains of their own, float64."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((n, n_chans, n_chans)) + 2 * np.eye(n_chans)
    return torch.from_numpy(mixing @ rng.standard_normal((n, n_chans, N_TIMES)))


def layer(n_chans: int = 3, shrinkage: float = 0.0, bands: Any = BANDS) -> BandPairs:
    return BandPairs(n_chans, N_TIMES, SFREQ, bands, shrinkage).double()


def paired(logs: torch.Tensor) -> torch.Tensor:
    """Return logarithms with the two coordinates of each plane last, (..., planes, 2)."""
    return torch.stack(logs.chunk(2, -1), -1)


def matrices(logs: torch.Tensor, scales: torch.Tensor) -> np.ndarray:
    """Return the matrices of coordinates, (..., 2, 2), as exponentials of symmetric matrices."""
    a, b = (part.numpy() for part in logs.chunk(2, -1))
    symmetric = np.stack([np.stack([a, b], -1), np.stack([b, -a], -1)], -2)
    return expm(symmetric + scales.numpy()[..., None, None] * np.eye(2))


def coordinates(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the coordinates of one matrix by its logarithm."""
    log = logm(matrix)
    return np.array([(log[0, 0] - log[1, 1]) / 2, log[0, 1]]), log.trace() / 2


def filtered_covariance(trial: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """Return the covariance of a trial, repeated for ever, behind scipy's filter."""
    sos = butter(4, band, btype="bandpass", fs=SFREQ, output="sos")
    repeated = np.tile(trial, 15)
    return np.cov(sosfiltfilt(sos, repeated)[:, 7 * N_TIMES : 8 * N_TIMES], bias=True)


@pytest.mark.parametrize("shrinkage", [0.0, 0.2])
def test_pairs_are_those_of_scipys_filters(shrinkage: float) -> None:
    x = signals(2)
    logs, scales = layer(shrinkage=shrinkage)(x + 5)  # the mean of a trial does not count
    assert logs.shape == (2, 18)
    assert scales.shape == (2, 9)
    found = matrices(logs, scales).reshape(2, len(BANDS), 3, 2, 2)
    for trial, of_bands in zip(x.numpy(), found, strict=True):
        for band, of_pairs in zip(BANDS, of_bands, strict=True):
            full = filtered_covariance(trial, band)
            full = (1 - shrinkage) * full + shrinkage * full.trace() / 3 * np.eye(3)
            for i, j, pair in zip(FIRST, SECOND, of_pairs, strict=True):
                expected = full[np.ix_([i, j], [i, j])]
                np.testing.assert_allclose(pair, expected, rtol=2e-3, atol=2e-3 * full.max())


def test_a_sine_counts_in_its_band_alone() -> None:
    time = torch.arange(N_TIMES, dtype=torch.float64) / SFREQ
    angle = 2 * math.pi * 10 * time
    x = torch.stack([3 * torch.sin(angle), 2 * torch.sin(angle + 0.9)]).unsqueeze(0)
    theta, alpha, beta = matrices(*layer(2)(x))[0]
    cross = 3 * math.cos(0.9)
    np.testing.assert_allclose(alpha, [[4.5, cross], [cross, 2.0]], rtol=5e-3)
    assert abs(beta).max() < 1e-4
    assert abs(theta).max() < 0.05


def test_lengths_are_those_of_scipys_logarithm() -> None:
    logs, scales = layer()(signals())
    r = Lorentz(1.0).dist0(Lorentz(1.0).expmap0(paired(logs)))
    squared = 2 * scales**2 + 2 * r**2
    for trial, pairs in enumerate(matrices(logs, scales)):
        for plane, matrix in enumerate(pairs):
            expected = np.linalg.norm(logm(matrix)) ** 2
            np.testing.assert_allclose(squared[trial, plane], expected, rtol=1e-9)
    # Coordinates of the covariances themselves, without going through matrices().
    x = signals(1, 2)
    (logs, scales), centred = layer(2)(x), BandPairs._covariances(layer(2), x)[0].numpy()
    for plane, matrix in enumerate(centred):
        vector, level = coordinates(matrix + 1e-6 * np.eye(2))
        np.testing.assert_allclose(paired(logs)[0, plane], vector, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(scales[0, plane], level, rtol=1e-9)


def test_distances_are_those_of_pyriemann() -> None:
    logs, scales = layer()(signals(2))
    d = Lorentz(1.0).dist(*Lorentz(1.0).expmap0(paired(logs)))
    squared = 2 * d**2 + 2 * (scales[0] - scales[1]) ** 2
    one, other = matrices(logs, scales)
    expected = [distance_riemann(a, b) ** 2 for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(squared, expected, rtol=1e-9)


def test_coherent_and_constant_channels_stay_finite() -> None:
    x = signals(4)
    x[0, 1] = -2 * x[0, 0]
    x[1, 2] = 0
    x[2] = 7
    x[3] *= 1e6
    for precision in (torch.float32, torch.float64):
        given = x.to(precision).requires_grad_()
        logs, scales = layer().to(precision)(given)
        assert logs.dtype == scales.dtype == precision
        assert torch.isfinite(logs).all()
        assert torch.isfinite(scales).all()
        (logs.sum() + scales.sum()).backward()
        assert torch.isfinite(given.grad).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer().float()(x.float())[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_chans": 1}, "n_chans=1: pairs need at least two channels"),
        ({"shrinkage": 1.0}, r"shrinkage must lie in \[0, 1\); got 1.0"),
        ({"n_times": 8}, r"n_times=8 is too short for bands: .* 12.5 Hz apart.* \(4.0, 8.0\) Hz"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    given = {"n_chans": 3, "n_times": N_TIMES, "sfreq": SFREQ, "bands": BANDS, "shrinkage": 0.0}
    with pytest.raises(ValueError, match=message):
        BandPairs(**{**given, **arguments})


def test_bands_fit_the_sampling() -> None:
    assert usable_bands(None, 100.0)[-1] == (30.0, 45.0)
    assert usable_bands(None, 64.0)[-1] == (20.0, 30.0)
    assert usable_bands([[12, 14]], 64.0) == ((12.0, 14.0),)
    for bands, sfreq in (([(8, 8)], 64.0), ([(0, 4)], 64.0), ([(20, 32)], 64.0)):
        with pytest.raises(ValueError, match="must satisfy 0 < low < high < 32 Hz"):
            usable_bands(bands, sfreq)
    for bands, sfreq in (([], 64.0), (None, 10.0)):
        with pytest.raises(ValueError, match="bands is empty"):
            usable_bands(bands, sfreq)


def norm(curvature: float | None = 1.0, n_planes: int = 9, **options: Any) -> PlaneNorm:
    manifold = None if curvature is None else Lorentz(curvature)
    return PlaneNorm(n_planes, manifold, **options).double()


def whitened(pairs: np.ndarray) -> np.ndarray:
    """Return the coordinates (trials, planes, 3) of pairs whitened by their centre."""
    found = np.empty((*pairs.shape[:2], 3))
    for plane in range(pairs.shape[1]):
        levels = np.array([np.log(np.linalg.det(m)) / 2 for m in pairs[:, plane]])
        ones = pairs[:, plane] / np.exp(levels)[:, None, None]
        mean = ones.mean(0) / math.sqrt(np.linalg.det(ones.mean(0)))
        root = np.linalg.inv(sqrtm(mean).real)
        for trial, one in enumerate(ones):
            found[trial, plane, :2] = coordinates(root @ one @ root)[0]
        found[:, plane, 2] = levels - levels.mean()
    return found


def expected_of(logs: torch.Tensor, scales: torch.Tensor) -> np.ndarray:
    about = whitened(matrices(logs, scales))
    dispersion = np.sqrt((about**2).mean())
    ordered = np.moveaxis(about, -1, 1).reshape(len(about), -1)
    return ordered / (dispersion + 1e-5)


def test_recentring_is_whitening_by_the_mean_of_each_domain() -> None:
    logs, scales = layer()(torch.cat([signals(7), 3 * signals(5, seed=1).flip(1)]))
    domain = torch.tensor([0] * 7 + [2] * 5)
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    part = norm(n_domains=3)
    with use_domain(part, domain[shuffled]):
        y = part(logs[shuffled], scales[shuffled])
    for d in (0, 2):
        of_domain = domain == d
        expected = expected_of(logs[of_domain], scales[of_domain])
        np.testing.assert_allclose(
            y[of_domain[shuffled]][shuffled[of_domain[shuffled]].argsort()], expected, rtol=1e-8,
            atol=1e-10,
        )  # fmt: skip
    assert part.num_batches_tracked.tolist() == [1, 0, 1]
    # The statistics of a domain's only batch do the same in evaluation.
    with use_domain(part.eval(), domain):
        torch.testing.assert_close(part(logs, scales)[shuffled], y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("c", [0.3, 4.0])
def test_centroids_go_to_the_origin_at_any_curvature(c: float) -> None:
    logs, scales = layer()(signals(8))
    part, manifold = norm(c), Lorentz(c).double()
    y = part(logs, scales)
    dispersion = part.running_dispersion + 1e-5
    torch.testing.assert_close((y**2).mean().sqrt(), torch.tensor(1.0).double(), rtol=1e-4, atol=0)
    moved = manifold.expmap0(paired(y[:, :18]) * dispersion)
    torch.testing.assert_close(moved.sum(0), torch.zeros(9, 2).double(), rtol=0, atol=1e-9)
    assert y[:, 18:].mean(0).abs().max() < 1e-12
    # An isometry: distances between trials are as they were.
    points = manifold.expmap0(paired(logs))
    before = manifold.dist(points[0], points[1])
    torch.testing.assert_close(manifold.dist(moved[0], moved[1]), before, rtol=1e-9, atol=0)
    # The one along the geodesic, as the layers of the package have it.
    centre = manifold.expmap0(paired(part.running_mean[0, :18]))
    w, _ = to_origin(points[3].unsqueeze(-1), centre.unsqueeze(-1), manifold.c)
    torch.testing.assert_close(moved[3], w.squeeze(-1), rtol=1e-8, atol=1e-10)


def test_a_change_of_basis_of_two_channels_is_undone() -> None:
    """What is linear in the electrodes' signals leaves the radii, in hyperbolic planes alone."""
    x = signals(8, 2)
    mixed = torch.tensor([[2.0, 0.5], [-1.0, 3.0]], dtype=torch.float64) @ x
    radii = {}
    for curvature in (1.0, None):
        of_both = []
        for given in (x, mixed):
            logs, scales = layer(2)(given)
            y = norm(curvature, n_planes=3)(logs, scales)
            of_both.append((paired(y[:, :6]).norm(dim=-1), y[:, 6:]))
        radii[curvature] = of_both
    for one, other in zip(*radii[1.0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    (one, _), (other, _) = radii[None]
    assert (one - other).abs().max() > 0.1


def test_vectors_written_out() -> None:
    logs, scales = layer()(signals(8))
    y = norm(None)(logs, scales)
    flat = torch.cat([logs, scales], 1).numpy()
    about = flat - flat.mean(0)
    np.testing.assert_allclose(y, about / (np.sqrt((about**2).mean()) + 1e-5), rtol=1e-9)


@pytest.mark.parametrize("momentum", [0.25, None])
def test_running_statistics(momentum: float | None) -> None:
    batches = [layer()(signals(8, seed=seed)) for seed in range(3)]
    kept = []
    for logs, scales in batches:
        part = norm(momentum=momentum)
        part(logs, scales)
        kept.append((part.running_mean.clone(), part.running_dispersion.clone()))
    part = norm(momentum=momentum)
    for logs, scales in batches:
        part(logs, scales)
    weights = [1 / 3] * 3 if momentum is None else [0.75**2, 0.25 * 0.75, 0.25]
    for i, name in enumerate(("running_mean", "running_dispersion")):
        expected = sum(w * stats[i] for w, stats in zip(weights, kept, strict=True))
        torch.testing.assert_close(getattr(part, name), expected)
    state = {key: value.clone() for key, value in part.state_dict().items()}
    part.eval()(*batches[0])
    assert all(torch.equal(value, state[key]) for key, value in part.state_dict().items())


def test_domains_without_statistics() -> None:
    logs, scales = layer()(signals(8))
    with pytest.raises(ValueError, match="domain is missing"):
        norm(n_domains=2)(logs, scales)
    strict, lenient = (norm(n_domains=2, unseen=u).eval() for u in ("raise", "batch"))
    trained = norm()
    expected = trained(logs, scales)
    with use_domain(strict, 1), pytest.raises(ValueError, match=r"not so domain \[1\]"):
        strict(logs, scales)
    with use_domain(lenient, 1):
        torch.testing.assert_close(lenient(logs, scales), expected)
    lonely = torch.tensor([0] * 7 + [1])
    with use_domain(strict.train(), lonely), pytest.raises(ValueError, match="more than 1 trial"):
        strict(logs, scales)
    untrained = norm().eval()(logs, scales)  # one domain: centre origin, dispersion 1
    torch.testing.assert_close(untrained, torch.cat([logs, scales], 1) / (1 + 1e-5))
    for wrong in ({"n_domains": 0}, {"unseen": "skip"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            norm(**wrong)


def test_statistics_of_a_new_domain_from_its_trials() -> None:
    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pairs, self.norm = layer(), norm(n_domains=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(*self.pairs(x))

    model, x = Both(), signals(8)
    adapt_domain_statistics(model, [x], domain=1)
    assert model.norm.num_batches_tracked.tolist() == [0, 1]
    with use_domain(model.eval(), 1):
        np.testing.assert_allclose(model(x), expected_of(*layer()(x)), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("curvature", [1.0, None])
def test_derivatives(curvature: float | None) -> None:
    """Those of the pairs and of their statistics."""
    pairs = BandPairs(2, 40, SFREQ, ((8.0, 13.0), (20.0, 30.0)), 0.1).double()
    part = norm(curvature, n_planes=2, n_domains=2)
    part.domain = torch.tensor([0, 1, 0, 1, 0])
    x = signals(5, 2)[..., :40].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: part(*pairs(x)), (x,), atol=1e-6)
