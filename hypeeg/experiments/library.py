"""The run files that come with hypeeg, by name."""

from __future__ import annotations

from pathlib import Path

from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean


def pipelines_dir() -> Path:
    """Return the folder of the run files: in the package from a wheel, else in the repository.

    Raises
    ------
    SpecError
        If neither exists.
    """
    here = Path(__file__).resolve()
    places = [here.parents[1] / "_pipelines", here.parents[2] / "pipelines"]
    for place in places:
        if place.is_dir():
            return place
    raise SpecError([Problem("", "the folder of run files is missing; reinstall hypeeg")])


def list_specs() -> list[str]:
    """Return the names of the run files that come with hypeeg."""
    return sorted(path.stem for path in pipelines_dir().glob("*.yaml"))


def find_spec(name: str) -> Path:
    """Return the run file that a name or path stands for.

    Parameters
    ----------
    name : str
        Path of a YAML file, or the name of one that comes with hypeeg, such as ``quickstart``.

    Returns
    -------
    Path

    Raises
    ------
    SpecError
        If there is neither such a file nor such a name.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    names = list_specs()
    if name in names:
        return pipelines_dir() / f"{name}.yaml"
    raise SpecError(
        [
            Problem(
                "",
                f"no such run file. Give the path of a YAML file, or one of: {', '.join(names)}."
                f"{did_you_mean(path.stem, names)}",
            )
        ],
        source=name,
    )
