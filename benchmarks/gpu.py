"""Our networks, layers and optimisers beside their Euclidean twins on an NVIDIA GPU.

Steps as they are written (eager), compiled by ``torch.compile``, and with ``torch.autocast``, in
sizes that fill a GPU and in the sizes of EEG, where the launching of kernels is what takes time.
Ours and the twin run alike and in turn.  Where there is no GPU the script says so and ends. Run::

    python benchmarks/gpu.py [--only eeg] [--repeats 15]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import torch
from _paired import HEADER, compare
from layers import both_ways, rows
from resnet_step import euclidean_resnet18
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg import HypEEGClassifier
from hypeeg.eeg.models.registry import get_model_class, twin_of
from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW
from hypeeg.vision import lorentz_resnet18

DEVICE = torch.device("cuda")
Step = Callable[[], None]


def training_step(
    model: nn.Module,
    optimizer: Callable[..., torch.optim.Optimizer],
    shape: tuple[int, ...],
    n_classes: int,
    *,
    compiled: bool = False,
    half: bool = False,
) -> Step:
    """Return a function that trains ``model`` on one fixed batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(DEVICE)
    y = torch.randint(n_classes, shape[:1], generator=generator).to(DEVICE)
    model.to(DEVICE).train()
    steps = optimizer(model.parameters(), lr=1e-4)
    forward = torch.compile(model) if compiled else model

    def step() -> None:
        steps.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            loss = F.cross_entropy(forward(x), y)
        loss.backward()
        steps.step()

    return step


def adamw(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Return torch's optimiser as it is fastest without being one kernel."""
    return torch.optim.AdamW(parameters, lr=lr, foreach=True)


def eeg(repeats: int) -> None:
    """Compare steps of the EEG network with those of its twin."""
    for batch in (64, 512):
        for compiled in (False, True):
            steps = []
            for name, kind in (
                ("HyperbolicEEGNet", RiemannianAdamW),
                (twin_of("HyperbolicEEGNet"), adamw),
            ):
                torch.manual_seed(0)
                model = get_model_class(name)(n_chans=64, n_outputs=4, n_times=480)
                steps.append(training_step(model, kind, (batch, 64, 480), 4, compiled=compiled))
            how = "compiled" if compiled else "eager"
            compare(f"EEGNet step, batch {batch}, {how}", *steps, repeats=repeats, device=DEVICE)


def resnet(repeats: int, kinds: tuple[str, ...] = ("eager", "autocast")) -> None:
    """Compare steps of a Lorentz ResNet-18 with those of ResNet-18."""
    for how in kinds:
        options = {"compiled": "compiled" in how, "half": "autocast" in how}
        steps = []
        for build, kind in ((lorentz_resnet18, RiemannianAdamW), (euclidean_resnet18, adamw)):
            torch.manual_seed(0)
            steps.append(training_step(build(100), kind, (256, 3, 32, 32), 100, **options))
        compare(f"ResNet-18 step, batch 256, {how}", *steps, repeats=repeats, device=DEVICE)
        torch.cuda.empty_cache()


def compiled_resnet(repeats: int) -> None:
    """Compare the same steps, compiled, which takes minutes."""
    resnet(repeats, ("compiled", "compiled, autocast"))


def layers(repeats: int) -> None:
    """Compare layers with their twins, 32 times the batches of ``layers.py``."""
    for compiled in (False, True):
        print("layers, compiled" if compiled else "layers, eager")
        for name, ours, twin, shape, _ in rows():
            torch._dynamo.reset()  # each row compiles for itself
            torch.manual_seed(0)
            x = (torch.randn((32 * shape[0], *shape[1:])) / 8).to(DEVICE).requires_grad_()
            calls = []
            for layer in (ours, twin):
                layer = layer.to(DEVICE)
                calls.append(both_ways(torch.compile(layer) if compiled else layer, x))
            compare(f"  {name} x32", *calls, repeats=repeats, device=DEVICE)
            torch.cuda.empty_cache()


def distances(repeats: int) -> None:
    """Compare distances with the Euclidean norm."""
    m = Lorentz(0.5, learnable=True).to(DEVICE)
    x, y = (torch.randn(1_000_000, 64, device=DEVICE).div(8).requires_grad_() for _ in range(2))

    def norm(x: Tensor, y: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x - y, dim=-1)

    def both(function: Callable[[Tensor, Tensor], Tensor]) -> Step:
        def call() -> None:
            x.grad = y.grad = None
            function(x, y).sum().backward()

        return call

    compare("distance 1M x 64, eager", both(m.dist), both(norm), repeats=repeats, device=DEVICE)
    ours, rival = torch.compile(m.dist), torch.compile(norm)
    compare("distance 1M x 64, compiled", both(ours), both(rival), repeats=repeats, device=DEVICE)


def optimisers(repeats: int) -> None:
    """Compare steps on one large table, and on many small ones."""
    for name, shapes in (("1M x 64", [(1_000_000, 64)]), ("100 of 200 x 64", [(200, 64)] * 100)):
        for how in ("eager", "compiled"):
            m = Lorentz(0.7, learnable=True).to(DEVICE)
            points = [
                ManifoldParameter(0.1 * torch.randn(shape, device=DEVICE), m) for shape in shapes
            ]
            flat = [nn.Parameter(0.1 * torch.randn(shape, device=DEVICE)) for shape in shapes]
            for p in (*points, *flat):
                p.grad = torch.randn_like(p)
            m.curvature.log_c.grad = torch.ones_like(m.curvature.log_c)
            ours = RiemannianAdamW(
                [*points, *m.parameters()], lr=1e-4, compile=how == "compiled"
            ).step
            theirs = adamw(flat, lr=1e-4).step
            compare(f"AdamW, {name}, {how}", ours, theirs, repeats=repeats, device=DEVICE)


def fits(_: int) -> None:
    """Print seconds of whole fits, compiling included, and of an epoch of it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 22, 1000)).astype(np.float32)
    y = rng.integers(0, 4, 4000)
    options = {"max_epochs": 30, "batch_size": 64, "random_state": 0}
    print("\nfit of 4,000 trials of 22 x 1000, 30 epochs: seconds in all, median of an epoch")
    for device, compiled in (("cuda", False), ("cuda", True), ("cpu", False)):
        for model in ("HyperbolicEEGNet", "EEGNet"):
            more = {"max_epochs": 1} if device == "cpu" else {}
            start = time.perf_counter()
            fitted = HypEEGClassifier(
                model, device=device, compile=compiled, **{**options, **more}
            ).fit(X, y)
            whole = time.perf_counter() - start
            epoch = float(np.median([row["dur"] for row in fitted.history_]))
            how = f"{device}{', compiled' if compiled else ''}"
            total = f"{whole:>8.1f}" if not more else f"{'':>8}"
            print(f"{model:<20}{how:<16}{total}{epoch:>9.3f}", flush=True)


PARTS: dict[str, Callable[[int], None]] = {
    "eeg": eeg,
    "distances": distances,
    "optimisers": optimisers,
    "layers": layers,
    "fits": fits,
    "resnet": resnet,
    "compiled_resnet": compiled_resnet,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", choices=list(PARTS), action="append")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no NVIDIA GPU here: nothing measured")
        return
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {torch.cuda.get_device_name()}, float32 unless said\n{HEADER}"
    )
    for name, part in PARTS.items():
        if arguments.only is None or name in arguments.only:
            torch.manual_seed(0)
            torch._dynamo.reset()
            part(arguments.repeats)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
