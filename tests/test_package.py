"""The package as a newcomer meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hypeeg

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "pandas", "mne", "moabb", "braindecode", "sklearn", "streamlit")


def test_import_loads_nothing_heavy() -> None:
    code = f"import hypeeg, sys; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(set(hypeeg.__all__) - {"__version__"}))
def test_public_names_resolve(name: str) -> None:
    assert getattr(hypeeg, name).__name__ == name
    assert name in dir(hypeeg)


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(AttributeError, match="HypEEGClassifier"):
        hypeeg.HypEEGClasifier  # noqa: B018


def test_readme_code_runs() -> None:
    """The block of the README that stands alone; the others need trials."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    standalone = [block for block in blocks if "import torch" in block]
    assert standalone
    for block in standalone:
        exec(compile(block, "README.md", "exec"), {})


def test_make_offers_the_targets_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("run", "test", "app", "bench", "lint", "setup"):
        assert f"\n{target}:" in makefile


def test_version_is_the_one_of_the_project_file() -> None:
    assert f'\nversion = "{hypeeg.__version__}"' in (ROOT / "pyproject.toml").read_text()
