"""EEG models in braindecode's contract; see :mod:`hypeeg.eeg.models.registry`."""
