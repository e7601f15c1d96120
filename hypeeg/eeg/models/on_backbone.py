"""Networks that are a braindecode model but for a part that lies on the hyperboloid."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from braindecode.models.base import EEGModuleMixin

from hypeeg.eeg.models.pieces import HyperbolicNetwork

# Where a model of braindecode takes this argument, forward takes it here.
_REPLACED = ("return_features",)


class OnBackbone(HyperbolicNetwork):
    """Mix-in for subclasses of a braindecode model, the layers of which keep their names.

    The arguments of the subclass are those of the model and the keywords of :meth:`_convert`,
    which replaces layers of the built model. A subclass names what it does not offer in
    ``_without``.
    """

    _without: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        backbones = [
            base
            for base in cls.__mro__[1:]
            if issubclass(base, EEGModuleMixin)
            and base is not EEGModuleMixin
            and not issubclass(base, OnBackbone)
        ]
        if backbones and "__init__" not in vars(cls):
            # Before braindecode's metaclass wraps it, to keep the arguments for the config.
            cls.__init__ = _constructor(  # type: ignore[method-assign]
                backbones[0], cls._convert, cls._without
            )
        super().__init_subclass__(**kwargs)

    def _convert(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define _convert()")


def _constructor(
    backbone: type[Any], convert: Callable[..., None], without: tuple[str, ...]
) -> Callable[..., None]:
    """Return an ``__init__`` that builds the backbone, then converts it."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    # Types, not their names: braindecode's make_model_config reads them in another module.
    theirs = [
        p
        for p in inspect.signature(backbone.__init__, eval_str=True).parameters.values()
        if p.kind in named and p.name not in (*_REPLACED, *without)
    ]
    ours = [
        p for p in inspect.signature(convert, eval_str=True).parameters.values() if p.name != "self"
    ]
    both = {p.name for p in theirs} & {p.name for p in ours}
    if both:
        raise ValueError(
            f"{backbone.__name__} has arguments of the names {sorted(both)}, which its hyperbolic "
            "version needs for its own"
        )
    positional = [p for p in theirs if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    keywords = [p for p in theirs if p.kind is inspect.Parameter.KEYWORD_ONLY]
    own = {p.name for p in ours}
    signature = inspect.Signature([*positional, *keywords, *ours])

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs).arguments
        del given["self"]
        # The backbone's constructor notes its own arguments for get_config over ours.
        config = self._braindecode_init_kwargs
        options = {name: given.pop(name) for name in own & set(given)}
        with naming_short_trials(backbone.__name__, given):
            backbone.__init__(self, **given)
            self._braindecode_init_kwargs = config
            if any(p.numel() == 0 for p in self.parameters()):
                raise ValueError(f"{_TOO_SHORT[0]}: a layer is left without features")
            mapping = self.mapping or {}
            # Old names of a final layer that is replaced lead nowhere.
            self.mapping = {k: v for k, v in mapping.items() if not v.startswith("final_layer")}
            convert(self, **options)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


_TOO_SHORT = ("Output size is too small", "Kernel size can't be greater than actual input size")


@contextmanager
def naming_short_trials(name: str, given: Mapping[str, Any]) -> Iterator[None]:
    """Build a network inside: torch's errors on trials that are too short become clear ones."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if not any(sign in str(error) for sign in _TOO_SHORT):
            raise
        keys = ("n_times", "input_window_seconds", "sfreq")
        size = ", ".join(f"{k}={given[k]}" for k in keys if given.get(k) is not None)
        raise ValueError(
            f"{size} is too short for {name} with its kernels and poolings; give longer trials or "
            f"shorter kernels and poolings ({error})"
        ) from error
