"""What braindecode's tools do with its own models they do with ours, once these are registered.

The parts of braindecode's test_integration and test_config that test_contract leaves out: training
by ``EEGClassifier`` under a model's name, and pydantic configurations of all arguments.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import mne
import numpy as np
import pytest
import torch
from braindecode import EEGClassifier
from braindecode.models import util
from braindecode.models.config import make_model_config
from skorch.dataset import ValidSplit

from hypeeg.eeg.models.registry import MODELS, get_model_class

NAMES = [*MODELS, "Hyperbolic(EEGNeX)"]
REQUIRED = ["n_chans", "n_outputs", "n_times"]
NEED_SFREQ = ("LorentzPairNet", "PairNet")  # bands in Hz
SFREQ, N_TIMES = 250.0, 500


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put our models among braindecode's."""
    warnings.simplefilter("ignore")
    for name in NAMES:
        monkeypatch.setitem(util.models_dict, name, get_model_class(name))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_trained_by_eeg_classifier_under_its_name(name: str) -> None:
    rng = np.random.default_rng(0)
    info = mne.create_info(["C3", "Cz", "C4"], SFREQ, "eeg")
    epochs = mne.EpochsArray(rng.standard_normal((8, 3, N_TIMES)), info, verbose="error")
    y = np.arange(8) % 2
    classifier = EEGClassifier(
        module=name,
        optimizer=torch.optim.Adam,
        optimizer__lr=1e-3,
        batch_size=4,
        max_epochs=1,
        classes=[0, 1],
        train_split=ValidSplit(0.25, random_state=0, stratified=True),
        verbose=0,
    )
    classifier.fit(X=epochs, y=y)
    module = classifier.module_
    assert isinstance(module, get_model_class(name))
    assert (module.n_chans, module.n_times, module.n_outputs) == (3, N_TIMES, 2)
    assert module.sfreq == SFREQ
    assert "final_layer" in [child for child, _ in module.named_children()][-2:]
    assert np.isfinite(classifier.history[-1]["train_loss"])
    assert classifier.predict(epochs).shape == (8,)


@pytest.mark.parametrize("name", NAMES)
def test_pydantic_configuration_of_all_arguments(name: str) -> None:
    config_class = make_model_config(get_model_class(name), REQUIRED)
    lengths: list[dict[str, Any]] = [
        {"n_times": N_TIMES, "sfreq": SFREQ},
        {"sfreq": SFREQ, "input_window_seconds": N_TIMES / SFREQ},
        {"n_times": N_TIMES, "input_window_seconds": N_TIMES / SFREQ},
    ]
    if name not in NEED_SFREQ:
        lengths.append({"n_times": N_TIMES})
    for length in lengths:
        config = config_class(n_chans=3, n_outputs=2, **length)
        again = config_class.model_validate(config.model_dump(mode="json"))
        assert again.model_dump(mode="python") == config.model_dump(mode="python")
    model = config_class(n_chans=3, n_outputs=2, **lengths[-1]).create_instance()
    assert isinstance(model, get_model_class(name))
    with pytest.raises(ValueError, match="n_outputs"):
        config_class(n_chans=3, n_outputs="two", n_times=N_TIMES)
