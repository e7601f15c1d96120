"""Starting the dashboard."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from hypeeg import dashboard


def test_command_is_bound_to_loopback_and_points_at_the_app() -> None:
    command = dashboard.command(port=8123, browser=False)
    assert command[:4] == [sys.executable, "-m", "hypeeg.dashboard", "run"]
    assert Path(command[4]).name == "main.py"
    options = dict(zip(command[5::2], command[6::2], strict=True))
    assert options["--server.address"] == "127.0.0.1"
    assert options["--server.port"] == "8123"
    assert options["--server.headless"] == "true"
    assert "--server.port" not in dashboard.command()
    assert dashboard.command()[-1] == "false"
    assert float(options["--server.maxUploadSize"]) <= 1


def test_another_address_must_be_told() -> None:
    command = dashboard.command(address="0.0.0.0")
    assert command[command.index("--server.address") + 1] == "0.0.0.0"
    assert not dashboard.is_loopback("0.0.0.0")
    assert dashboard.is_loopback("::1")
    with pytest.raises(dashboard.DashboardError, match="address is 'my host'; give"):
        dashboard.command(address="my host")


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_is_named(port: int) -> None:
    with pytest.raises(dashboard.DashboardError, match=f"port is {port}"):
        dashboard.command(port)


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "streamlit" else find(name)
    )
    with pytest.raises(dashboard.DashboardError, match=r"pip install 'hypeeg\[app\]'"):
        dashboard.command()


def test_a_file_is_no_folder_of_runs(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(dashboard.DashboardError, match="is a file"):
        dashboard.launch(file)


def test_the_app_in_a_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "hypeeg"
    monkeypatch.setattr(dashboard, "__file__", str(package / "dashboard.py"))
    # Somebody else's `app` beside an installed package.
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("")
    with pytest.raises(dashboard.DashboardError, match="reinstall hypeeg"):
        dashboard.app_file()
    (package / "_app" / "hypeeg_app").mkdir(parents=True)
    (package / "_app" / "main.py").write_text("")
    assert dashboard.app_file() == package / "_app" / "main.py"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_server_answers_and_ends_with_its_launcher(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "import sys; from pathlib import Path; from hypeeg.dashboard import launch; "
        f"sys.exit(launch(Path({str(tmp_path)!r}), {port}, False))"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        assert _answer(port) == "ok"
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(timeout=20) == 0
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    finally:
        # Whatever a failing test left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait(timeout=20)


def _answer(port: int, seconds: float = 40.0) -> str:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as reply:
                return reply.read().decode()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
