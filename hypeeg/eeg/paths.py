"""Where recordings lie, told to MNE and MOABB through environment variables only.

MNE and MOABB look for each dataset in the environment first and in ``~/.mne/mne-python.json``
second; MOABB *writes* that file when it finds neither. Setting the variables of this process keeps
both the user's configuration and the network out of it.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path

from hypeeg.eeg.errors import MissingDataError

logger = logging.getLogger(__name__)

DATA_VARIABLE = "HYPEEG_DATA"
CACHE_VARIABLE = "HYPEEG_CACHE"
# Sources that a hypeeg data folder is known to hold, even if their folder is absent.
_SIGNS = ("EEGBCI", "SSVEPEXO")


def configure_data_paths(root: Path | None = None) -> Path | None:
    """Point MNE and MOABB at a folder of recordings, for this process and its children.

    Sets ``MNE_DATASETS_<SIGN>_PATH`` to ``root/eeg`` for EEGBCI, SSVEPEXO and every other
    ``MNE-<sign>-data`` folder found there, ``MOABB_DOWNLOAD_PROVIDER=upstream`` (otherwise MOABB
    asks a mirror on the network first, even for files that are present), and ``MNE_DATA`` and
    ``MOABB_RESULTS`` to an existing writable folder unless they name one already. The data folder
    itself may be read-only. The user's MNE configuration file is neither read nor written.

    Parameters
    ----------
    root : Path or None
        The folder; None takes the environment variable ``HYPEEG_DATA``. If that is not set
        either, nothing changes: the MNE variables that the user has set stay in force.

    Returns
    -------
    Path or None
        The folder, or None when there is none.

    Raises
    ------
    MissingDataError
        If the folder does not exist or is a file.
    """
    source = "root"
    if root is None:
        value = os.environ.get(DATA_VARIABLE, "").strip()
        if not value:
            return None
        root, source = Path(value), DATA_VARIABLE
    root = Path(root).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise MissingDataError(
            f"{source}={str(root)!r} {what}; set {DATA_VARIABLE} to the folder that holds 'eeg/', "
            "or unset it to let MNE and MOABB use their own paths"
        )
    root = root.resolve()
    eeg = root / "eeg"
    if not eeg.is_dir():
        logger.warning("%s=%s holds no folder 'eeg': no recordings there", source, root)
    found = (path.name[len("MNE-") : -len("-data")].upper() for path in eeg.glob("MNE-*-data"))
    for sign in sorted({*_SIGNS, *found}):
        os.environ[f"MNE_DATASETS_{sign}_PATH"] = str(eeg)
    os.environ["MOABB_DOWNLOAD_PROVIDER"] = "upstream"
    for variable in ("MNE_DATA", "MOABB_RESULTS"):
        current = os.environ.get(variable)
        if not current or not _writable(Path(current).expanduser()):
            os.environ[variable] = str(cache_folder())
    return root


def keep_mne_config_unwritten() -> None:
    """Name MNE's default data folder in the environment where nothing names one.

    Otherwise MOABB would store the same folder in the user's MNE configuration file.
    """
    if mne_setting("MNE_DATA") is None:
        folder = Path.home() / "mne_data"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["MNE_DATA"] = str(folder)


def mne_setting(key: str) -> str | None:
    """Return what ``mne.get_config`` does, without MNE: the environment first, then its file.

    Parameters
    ----------
    key : str
        Name of the setting.

    Returns
    -------
    str or None
        None if neither tells.
    """
    if key in os.environ:
        return os.environ[key]
    home = os.environ.get("_MNE_FAKE_HOME_DIR")
    if home is None and os.name == "nt":
        roaming = os.environ.get("APPDATA")
        home = roaming if roaming and Path(roaming, ".mne").is_dir() else os.getenv("USERPROFILE")
    elif home is None and os.environ.get("MNE_DONTWRITE_HOME") == "true":
        return None
    file = Path(home or "~").expanduser() / ".mne" / "mne-python.json"
    try:
        value = json.loads(file.read_text(encoding="utf-8")).get(key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        logger.warning("%s cannot be read (%s); mend or remove it", file, error)
        return None
    return None if value is None else str(value)


def cache_folder() -> Path:
    """An existing, writable folder for what MNE and MOABB keep: the user's cache, else a new one.

    Returns
    -------
    Path
        ``$XDG_CACHE_HOME/hypeeg/mne_data`` or ``~/.cache/hypeeg/mne_data``; a fresh temporary
        folder where neither can be written.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "hypeeg" / "mne_data"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.info("cache folder %s cannot be made (%s): using a temporary one", folder, error)
    if _writable(folder):
        return folder
    return Path(tempfile.mkdtemp(prefix="hypeeg-mne-data-"))


def cache_root() -> Path:
    """Folder of hypeeg's own records and caches; it need not exist.

    Returns
    -------
    Path
        ``$HYPEEG_CACHE``, else ``$XDG_CACHE_HOME/hypeeg``, else ``~/.cache/hypeeg``.
    """
    given = os.environ.get(CACHE_VARIABLE, "").strip()
    if given:
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "hypeeg"


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
