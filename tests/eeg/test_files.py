"""EDF files are checked against their own header before anything reads them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from hypeeg.eeg.errors import CorruptDataError
from hypeeg.eeg.files import check_whole, sha256


def edf(n_records: int = 3, n_signals: int = 2, samples: int = 16, width: int = 2) -> bytes:
    """A minimal EDF (width 2) or BDF (width 3) file."""

    def text(value: object, size: int) -> bytes:
        return str(value).encode().ljust(size)

    header = text(0, 8) + text("", 160) + text("01.01.2001.01.01", 16)
    header += text(256 * (n_signals + 1), 8) + text("", 44)
    header += text(n_records, 8) + text(1, 8) + text(n_signals, 4)
    for size in (16, 80, 8, 8, 8, 8, 8, 80):
        header += text("", size) * n_signals
    header += text(samples, 8) * n_signals + text("", 32) * n_signals
    body = np.zeros(max(n_records, 2) * n_signals * samples * width, dtype=np.uint8).tobytes()
    return header + body


@pytest.mark.parametrize(("suffix", "width"), [("edf", 2), ("bdf", 3), ("EDF", 2)])
def test_whole_files_pass_and_cut_ones_do_not(tmp_path, suffix, width):
    path = tmp_path / f"recording.{suffix}"
    content = edf(width=width)
    path.write_bytes(content)
    check_whole(path)
    path.write_bytes(content[:-40])
    with pytest.raises(CorruptDataError, match=rf"recording\.{suffix}: truncated: \d+ bytes where"):
        check_whole(path)
    path.write_bytes(content + b"0")
    with pytest.raises(CorruptDataError, match="longer than its header says"):
        check_whole(path)


def test_open_number_of_records_needs_whole_records(tmp_path):
    path = tmp_path / "open.edf"
    path.write_bytes(edf(n_records=-1))
    check_whole(path)
    path.write_bytes(edf(n_records=-1)[:-3])
    with pytest.raises(CorruptDataError):
        check_whole(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", edf()[:300]])
def test_no_edf_at_all(tmp_path, content):
    path = tmp_path / "page.edf"
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"page\.edf.*(header|truncated).*again"):
        check_whole(path)


def test_other_formats_pass(tmp_path):
    path = tmp_path / "recording.fif"
    path.write_bytes(b"anything")
    check_whole(path)


def test_sha256(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1000)
    assert sha256(path) == hashlib.sha256(b"abc" * 1000).hexdigest()


@pytest.mark.realdata
def test_agrees_with_mne_on_real_recordings(hypeeg_data):
    import mne

    for path in sorted(hypeeg_data.glob("eeg/eegmat/*.edf"))[:3]:
        check_whole(path)
        mne.io.read_raw_edf(path, verbose="ERROR")
