"""What stands in deploy/ is right: by the tools that check such files where there are any, and against the code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kit.program import Program, environment

from voltlane import cli
from voltlane.config import SETTINGS, defaults

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
UNIT, SOCKET = DEPLOY / "voltlane.service", DEPLOY / "voltlane.socket"
SCRIPTS = [DEPLOY / "voltlane.openrc", DEPLOY / "voltlane.openwrt"]
DOCKERFILE, COMPOSE = DEPLOY / "Dockerfile", DEPLOY / "compose.yaml"
MINE = [UNIT, SOCKET, *SCRIPTS, DOCKERFILE, COMPOSE]
TIMEOUT = 120.0
MOST_EXPOSED = 20
"""Of systemd's measure, which goes to 100."""


def checked(*command: str, cwd: Path = ROOT) -> str:
    """Run a checker; what it says. Skips where there is none."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    ran = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def values(path: Path, key: str) -> list[str]:
    """The values of a key in a unit file."""
    return re.findall(rf"^{key}=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)


# ---- all of them


@pytest.mark.parametrize("path", MINE, ids=lambda path: path.name)
def test_settings_and_commands_are_those_there_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    variables = set(re.findall(r"VOLTLANE_[A-Z_]*[A-Z]", text))
    assert variables <= {row.full_env for row in SETTINGS.values()} | {row.env for row in SETTINGS.values()}
    commands = re.findall(r"^[^#\n]*?\b(serve(?: --[a-z-]+| [\w./\"$]+)+)", text, re.MULTILINE)
    assert commands or path in (SOCKET, DOCKERFILE, COMPOSE)
    for command in commands:
        assert cli._parse(command.replace('"', "").split()).command == "serve"


def test_each_file_is_documented() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for path in MINE:
        assert f"deploy/{path.name}" in operations


# ---- systemd


def test_the_unit_agrees_with_what_the_server_does() -> None:
    assert values(UNIT, "Type") == ["notify"]
    assert values(UNIT, "ExecReload")[-1].endswith("kill -HUP $MAINPID")
    assert float(values(UNIT, "WatchdogSec")[0]) >= 1
    assert float(values(UNIT, "TimeoutStopSec")[0]) > defaults().general.shutdown_secs
    assert int(values(UNIT, "RestartPreventExitStatus")[0]) == cli.EXIT_USAGE
    assert values(UNIT, "StateDirectory") == ["voltlane"]
    assert values(UNIT, "Environment") == ["VOLTLANE_GENERAL_STATE_DIR=%S/voltlane"]
    assert values(SOCKET, "ListenStream") == [defaults().listener.address[0].rpartition(":")[2]]


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """Copies whose programs exist on this machine."""
    for path in (UNIT, SOCKET):
        text = path.read_text(encoding="utf-8").replace("/opt/voltlane/bin/voltlane", sys.executable)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    return [str(tmp_path / path.name) for path in (UNIT, SOCKET)]


def test_systemd_finds_no_mistake_in_the_units(units: list[str]) -> None:
    said = checked("systemd-analyze", "verify", *units)
    assert not [line for line in said.splitlines() if "voltlane" in line], said


def test_systemd_finds_the_service_hardly_exposed(units: list[str]) -> None:
    if shutil.which("systemd-analyze") and "--offline" not in checked("systemd-analyze", "--help"):
        pytest.skip("this systemd-analyze cannot judge a unit that is not loaded")
    checked("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", units[0])


# ---- init scripts


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_shell_reads_the_script(path: Path) -> None:
    checked("sh", "-n", str(path))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    checked("shellcheck", "--shell=sh", "--exclude=SC2034", str(path))  # variables that who reads the script uses


# ---- containers


def test_what_the_image_is_made_of_is_there_and_nobody_in_it_is_root() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for name in line.split()]
    assert copied
    for name in copied:
        assert (ROOT / name).exists() and f"!{name}" in kept
    final = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["voltlane"]
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)$", final, re.MULTILINE)[0]) == ["voltlane"]
    command = json.loads(re.findall(r"^CMD (.*)$", final, re.MULTILINE)[0])
    assert cli._parse(command).command == "serve"


def test_compose_reads_its_file() -> None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            said = checked(*command, "--file", str(COMPOSE), "config")
            assert "VOLTLANE_MASTER_ADDRESS: chat:42001" in said
            return
    pytest.skip("docker compose is not installed")


def test_the_files_that_compose_names_are_there() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    for name in re.findall(r"dockerfile: (\S+)", text):
        assert (ROOT / name).exists()
    for name in re.findall(r"- (\.\./[\w/]+):", text):
        assert (DEPLOY / name).exists()
    for name in re.findall(r"/examples/(\w+\.py)", text):
        assert (ROOT / "examples" / name).exists()


# ---- the wheel


def test_a_wheel_holds_all_that_a_server_needs(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    (source / "clients" / "js").mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "clients/js/voltlane.js"):
        shutil.copy(ROOT / name, source / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "voltlane", source / "voltlane", symlinks=True, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    isolation = [] if newest_setuptools() < 77 else ["--no-build-isolation"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", *isolation, "--wheel-dir", str(tmp_path), str(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    if built.returncode:
        assert isolation == [], built.stdout
        pytest.skip("there is no setuptools here to build with, and none could be had")
    (wheel,) = tmp_path.glob("voltlane-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, timeout=TIMEOUT)
    installed = {str(path.relative_to(site)) for path in (site / "voltlane").rglob("*") if path.is_file()}
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "voltlane").rglob("*")
        if path.is_file() and path.suffix not in (".so", ".pyc", ".c")
    }
    assert wanted <= installed
    script = site / "voltlane" / "lanes" / "web" / "voltlane.js"
    assert not script.is_symlink() and script.read_bytes() == (ROOT / "clients" / "js" / "voltlane.js").read_bytes()
    environ = environment(PYTHONPATH=str(site))
    said = subprocess.run(
        [sys.executable, "-m", "voltlane", "--version"], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    )
    assert said.returncode == 0 and said.stdout.startswith("voltlane ")
    with Program("serve", "--listen", "127.0.0.1:0", cwd=tmp_path, environ={"PYTHONPATH": str(site)}) as program:
        program.wait_err("clients connect to 127.0.0.1:")
        program.process.terminate()
        assert program.finish() == 0
    assert os.listdir(source / "voltlane")  # and not this checkout was what ran
    where = "import voltlane; print(voltlane.__file__)"
    ran = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True)
    assert ran.stdout.startswith(str(site))


def newest_setuptools() -> int:
    try:
        from importlib.metadata import version

        return int(version("setuptools").partition(".")[0])
    except ImportError:
        return 0
