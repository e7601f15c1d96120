"""What tasks on images and on taxonomies take, from sizes alone: seconds and bytes of one task.

Rules of thumb of one busy core, measured on the shipped run files; they may be wrong by a factor of
five either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypeeg.experiments import hierarchy_spec, vision_spec
from hypeeg.experiments.base_spec import BaseRunSpec
from hypeeg.experiments.hierarchy_spec import HierarchyRunSpec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.vision_spec import VisionRunSpec
from hypeeg.experiments.wings import wing_of

if TYPE_CHECKING:
    import numpy as np

# Multiplications a second of a convolution and its two gradients, and how much longer layers on
# the hyperboloid take.
MULTIPLICATIONS = 2.0e10
SLOWER = {"LorentzResNet": 2.0, "HybridResNet": 1.0, "ResNet": 1.0}
# Tensors of the size of each feature map that are held for the gradient.
HELD = {"LorentzResNet": 6, "HybridResNet": 3, "ResNet": 3}
# Seconds for each pair of nodes whose distance a step needs, and for the step itself.
PAIR_SECONDS = {"LorentzEmbedding": 2.5e-7, "EuclideanEmbedding": 1.1e-7}
STEP_SECONDS = 1e-3
# Points, gradients and two moments of an optimiser.
POINT_COPIES = 4
# Numbers in the blocks of distances by which nodes are ranked.
RANKING_NUMBERS = 2**24


@dataclass(frozen=True)
class WingCosts:
    """What the tasks of a run take.

    Attributes
    ----------
    data_bytes : int
        Of the data themselves, held once.
    task_bytes : int
        Of the pipeline that needs most, beside the data and the libraries.
    seconds : dict of float
        Of one task, by pipeline.
    note : str
        What the data are.
    """

    data_bytes: int
    task_bytes: int
    seconds: Mapping[str, float]
    note: str


def wing_costs(spec: BaseRunSpec) -> WingCosts | None:
    """Estimate what the tasks of a run on images or a taxonomy take; the data are read.

    Parameters
    ----------
    spec : VisionRunSpec or HierarchyRunSpec
        Resolved.

    Returns
    -------
    WingCosts or None
        None if the data cannot be read here, which the run itself will say.

    Raises
    ------
    SpecError
        If the run file asks for what the data do not hold.
    """
    from hypeeg.experiments.divisible import DataProblem

    wing: Any = wing_of(spec)
    try:
        data = wing.load(spec)
        n_train = len(wing.plan(spec, data)[0].fold.train)
    except DataProblem:
        return None
    except SpecError as error:
        # A taxonomy that is not there; all else is a mistake in the run file.
        if any(problem.path != "dataset" for problem in error.problems):
            raise
        return None
    note = wing.facts(spec, data).line
    if isinstance(spec, VisionRunSpec):
        return _of_images(spec, data.images.X, n_train, note)
    assert isinstance(spec, HierarchyRunSpec)
    return _of_taxonomy(spec, data.taxonomy, n_train, note)


def _of_images(spec: VisionRunSpec, X: np.ndarray, n_train: int, note: str) -> WingCosts:
    seconds, most = {}, 0
    for pipeline in spec.pipelines:
        options = vision_spec.training_of(spec, pipeline)
        multiplications, numbers = network_size(X.shape[1:], vision_spec.params_of(spec, pipeline))
        work = 3.0 * n_train * options.max_epochs * multiplications
        seconds[pipeline.name] = work / MULTIPLICATIONS * SLOWER[pipeline.model]
        maps = 4 * options.batch_size * numbers * HELD[pipeline.model]
        most = max(most, maps + 4 * n_train * math.prod(X.shape[1:]))
    return WingCosts(X.nbytes, most, seconds, note)


def network_size(shape: tuple[int, ...], params: Mapping[str, Any]) -> tuple[int, int]:
    """Return the multiplications of a residual network for an image, and numbers in its maps.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of an image.
    params : mapping
        ``blocks``, ``widths`` and ``stem`` as in a run file; those of ResNet-18 if not given.

    Returns
    -------
    multiplications, numbers : int
    """
    channels, height, width = shape
    blocks = params.get("blocks") or [2, 2, 2, 2]
    widths = params.get("widths") or [64, 128, 256, 512]
    pixels, kernel = height * width, 9
    if params.get("stem") == "imagenet":
        pixels, kernel = pixels // 4, 49
    work, numbers = kernel * channels * widths[0] * pixels, widths[0] * pixels
    if params.get("stem") == "imagenet":
        pixels //= 4
    before = widths[0]
    for stage, (count, wide) in enumerate(zip(blocks, widths, strict=True)):
        pixels = max(1, pixels // 4) if stage else pixels
        for _ in range(count):
            work += 9 * (before + wide) * wide * pixels
            numbers += 2 * wide * pixels
            before = wide
    return work, numbers


def _of_taxonomy(spec: HierarchyRunSpec, taxonomy: Any, n_train: int, note: str) -> WingCosts:
    seconds, most = {}, 0
    for pipeline in spec.pipelines:
        options = hierarchy_spec.training_of(spec, pipeline)
        steps = options.epochs * math.ceil(n_train / options.batch_size)
        pairs = options.epochs * n_train * (1 + options.n_negatives)
        seconds[pipeline.name] = pairs * PAIR_SECONDS[pipeline.model] + steps * STEP_SECONDS
        dim = pipeline.dim if isinstance(pipeline.dim, int) else hierarchy_spec.DEFAULT_DIM
        points = POINT_COPIES * taxonomy.n_nodes * dim
        batch = 6 * options.batch_size * (1 + options.n_negatives) * dim
        most = max(most, 4 * (points + max(batch, RANKING_NUMBERS)))
    return WingCosts(taxonomy.edges.nbytes, most, seconds, note)
