"""A small gateway: a Python in parts, no sources, nothing that can be written. What deploy/voltlane.openwrt says that a
server needs is all that it needs, and nothing of it can be left out."""

from __future__ import annotations

import http.client
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from kit.gateway import LIGHT, NOWHERE, PACKAGES, ROOT, install, installed, run
from kit.process import Process
from kit.raw_master import RawMaster
from kit.vectors import CERTIFICATES

from voltlane.client import Connection

pytest.importorskip("h11", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
pytestmark = pytest.mark.skipif(platform.python_implementation() != "CPython", reason="OpenWrt's Python is CPython")

INIT_SCRIPT = ROOT / "deploy" / "voltlane.openwrt"
CA = str(CERTIFICATES / "ca.pem")
TLS = f'[tls]\ncertificate = "{CERTIFICATES / "server.pem"}"\nkey = "{CERTIFICATES / "server.key"}"\n'
SETTINGS = {"tcp": "", "ws": '[web]\npage = "chat"\n', "tls": TLS, "wss": TLS, "admin": ""}
LANES = ["tcp", "tls", "ws", "wss"]


def named() -> dict[str, list[str]]:
    """The packages that the init script names, by what they are for."""
    text = INIT_SCRIPT.read_text(encoding="utf-8")
    rows = re.findall(r"^#   ([^\n]+?): +(python3-[^\n]+)$", text, re.MULTILINE)
    return {use: re.findall(r"python3-[\w-]+", packages) for use, packages in rows}


def needed(what: str) -> list[str]:
    """All packages for a lane, or for the admin endpoint."""
    uses = {use: packages for use, packages in named().items() if use == "always" or re.search(rf"\b{what}\b", use)}
    assert len(uses) > 1 or what == "tcp"
    return sorted({package for packages in uses.values() for package in packages})


NAMED = [
    *(("tcp", package) for package in needed("tcp") if package != LIGHT),
    *((what, package) for what in SETTINGS for package in needed(what) if package not in needed("tcp")),
]
"""What cannot do without which package."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usr") / "lib" / "voltlane"
    install(folder)
    return folder


def serve(
    site: Path, what: str, packages: Sequence[str], master: str, home: Path, more: str = "", by: Sequence[str] = ()
) -> Process:
    """A server with a lane, or with an admin endpoint."""
    lane = "tcp" if what == "admin" else what
    text = f'[listener]\naddress = "{lane}://127.0.0.1:0"\n[master]\naddress = "{master}"\n'
    text += '[admin]\naddress = "127.0.0.1:0"\n' if what == "admin" else ""
    file = home / "connserver.toml"
    file.write_text(text + SETTINGS[what] + more, encoding="utf-8")
    return run(site, packages, "serve", "--config", str(file), by=by)


def round_trip(server: Process, master: RawMaster, what: str = "tcp") -> None:
    """A packet up and one down."""
    server.wait_for_log("clients connect to ")
    master.accept()
    address = server.log.partition("clients connect to ")[2].split()[0]
    trust = {"ca_file": CA, "server_name": "localhost"} if what in ("tls", "wss") else {}
    with Connection(address, **trust) as client:
        client.send(b"up")
        packet = master.recv()
        assert packet.data == b"up"
        master.send(packet.client_id, b"down")
        assert client.recv(20) == b"down"


def get(address: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()
    finally:
        connection.close()


# ---- packages


def test_the_init_script_names_packages() -> None:
    assert set(named()) >= {"always", "for admin.address"}
    assert {package for packages in named().values() for package in packages} <= {LIGHT, *PACKAGES}


@pytest.mark.skipif(sys.version_info < (3, 10), reason="this Python does not tell which modules it has")
def test_modules_are_spelled_right() -> None:
    ours = [*NOWHERE, *(module for row in PACKAGES.values() for module in row["modules"])]
    gone = {"cgi", "cgitb", "distutils", "lib2to3", "nis", "test"}
    others = {"_cffi_backend", "cffi", "h11", "pycparser", "nacl", "six"}
    assert set(ours) <= sys.stdlib_module_names | gone | others and len(set(ours)) == len(ours)


@pytest.mark.parametrize("lane", LANES)
def test_a_lane_needs_no_more_than_is_named(site: Path, tmp_path: Path, lane: str) -> None:
    with RawMaster() as master, serve(site, lane, needed(lane), master.address, tmp_path) as server:
        round_trip(server, master, lane)
        if lane == "ws":
            address = server.log.partition("ws://")[2].split()[0]
            assert b"</html>" in get(address, "/") and b"class" in get(address, "/voltlane.js")
        assert server.stop() == 0


def test_the_admin_endpoint_and_who_asks_it_need_no_more_than_is_named(site: Path, tmp_path: Path) -> None:
    with RawMaster() as master, serve(site, "admin", needed("admin"), master.address, tmp_path) as server:
        round_trip(server, master)
        address = server.log.partition("admin endpoint is at ")[2].split()[0].rpartition("//")[2]
        assert b"</html>" in get(address, "/") and b"voltlane_clients" in get(address, "/metrics")
        with run(site, needed("status"), "status", address) as status:
            assert status.wait() == 0, status.log
        assert server.stop() == 0


@pytest.mark.parametrize(("what", "package"), NAMED)
def test_none_that_is_named_can_be_left_out(site: Path, tmp_path: Path, what: str, package: str) -> None:
    with serve(site, what, [other for other in needed(what) if other != package], "127.0.0.1:1", tmp_path) as server:
        assert server.wait() != 0
        words = [
            package.partition("-")[2],
            *(word for each in installed([package]) for word in PACKAGES[each]["modules"]),
        ]
        assert re.search(rf"\b({'|'.join(words)})\b", server.log)


# ---- files


def tree(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_it_runs_without_sources_and_writes_nothing(site: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert not list(site.rglob("*.py"))
    with RawMaster() as master, serve(site, "tcp", needed("tcp"), master.address, home) as server:
        before = tree(site), tree(home)
        round_trip(server, master)
        there = [path.name for path in Path(server.directory).iterdir()]
        assert server.stop() == 0
        assert (tree(site), tree(home)) == before and there == ["log"]


# A root of which nothing can be written but $1, and $2 is where it is put together.
READ_ONLY = """
set -e
mount --rbind / "$2"
mount --bind "$1" "$2$1"
mount -o remount,bind,ro "$2"
for place in /tmp /var/tmp; do ! mountpoint -q "$place" || mount -o remount,bind,ro "$2$place"; done
if touch "$2$3/x" 2> /dev/null; then echo "still writable" >&2; exit 9; fi
home=$3; root=$2; shift 3
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$home" "$@"
"""


def read_only(writable: Path, root: Path, home: Path) -> list[str]:
    """The beginning of a command that runs the rest on a read-only root. Skips where there can be none."""
    for folder in (writable, root, home):
        folder.mkdir()
    by = ["unshare", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, "sh", str(writable), str(root), str(home)]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    tried = subprocess.run([*by, "true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    if tried.returncode:
        pytest.skip(f"no read-only root can be made here: {tried.stdout.strip()}")
    return by


@pytest.mark.parametrize("kept", [False, True], ids=["nothing kept", "state kept"])
def test_it_runs_on_a_root_that_cannot_be_written(site: Path, tmp_path: Path, kept: bool) -> None:
    state = tmp_path / "state"
    by = read_only(state, tmp_path / "root", tmp_path / "home")
    more = f'[general]\nstate_dir = "{state}"\n' if kept else ""
    with RawMaster() as master, serve(site, "tcp", needed("tcp"), master.address, tmp_path, more, by) as server:
        round_trip(server, master)
        assert server.stop() == 0
        assert "WARN" not in server.log.partition("clients connect to ")[0] and "ERROR" not in server.log
    assert bool(list(state.iterdir())) is kept
