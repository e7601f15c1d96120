"""What trials are called: images and nodes have no subjects, sessions or signals."""

from __future__ import annotations

import numpy as np
import pytest

N = 6


def arrays() -> dict[str, np.ndarray]:
    label = np.array(["a", "b"] * (N // 2))
    return {
        "trial": np.arange(N),
        "subject": np.ones(N, dtype=int),
        "session": np.array(["0"] * N),
        "fold": np.zeros(N, dtype=int),
        "seed": np.array([0, 0, 0, 1, 1, 1]),
        "y_true": label,
        "y_pred": label,
        "embedding": np.random.default_rng(0).normal(size=(N, 2)),
        "curvature": np.ones(N),
    }


@pytest.mark.parametrize(
    ("kind", "unit", "network"),
    [
        ("within_session", "trial", "subject 1 · session 0 · fold 0 · seed 1"),
        ("few_shot", "image", "seed 1"),
        ("validation", "image", "seed 1"),
        ("reconstruction", "node", "seed 1"),
    ],
)
def test_units_and_names_of_networks(kind: str, unit: str, network: str) -> None:
    from hypeeg_app.embedding_picture import explain, picture
    from hypeeg_app.trials import Trials

    trials = Trials.from_arrays(arrays(), kind)
    assert trials.unit == unit
    assert trials.table["network"].tolist()[-1] == network
    some = trials.only(np.arange(N) < 3)
    assert some.unit == unit
    assert some.hover()[0].startswith(f"<b>{unit} 0</b>")
    shown = picture((kind,), "Centroid", "Tangent PCA", some)
    counted = "3 nodes" if unit == "node" else f"3 test {unit}s"
    assert explain(shown, some, "Centroid", "Tangent PCA", moved=False).startswith(counted)
    moved = explain(shown, some, "Centroid", "Tangent PCA", moved=True)
    assert f"the chosen {unit} to the middle" in moved


def test_every_kind_without_people_has_a_name_for_its_units() -> None:
    from hypeeg_app.trials import UNITS

    from hypeeg.experiments.comparisons import unit_of
    from hypeeg.experiments.hierarchy_spec import HierarchyEvaluationSpec
    from hypeeg.experiments.vision_spec import VisionEvaluationSpec

    kinds = [
        kind
        for section in (VisionEvaluationSpec, HierarchyEvaluationSpec)
        for kind in section.model_json_schema()["properties"]["kind"]["enum"]
    ]
    assert set(kinds) == set(UNITS)
    assert {unit_of(kind) for kind in kinds} == {"seed"}
