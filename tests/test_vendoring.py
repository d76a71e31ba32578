"""The package works as a copy under another name's `_vendor`, with nothing of an installed `voltlane` behind it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "voltlane"

REFUSE_PLAIN = """
import sys

class Refuse:
    # An editable or a real installation would otherwise answer for a name that the copy has not got.
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "voltlane":
            raise AssertionError(f"the copy imported {name} by its absolute name")

sys.meta_path.insert(0, Refuse())
"""

IMPORT_ALL = """
import importlib, pkgutil
import x._vendor.voltlane as package

names = [info.name for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
names = [name for name in names if not name.endswith(".__main__")]
for name in names:
    importlib.import_module(name)
assert not [name for name in sys.modules if name.split(".")[0] == "voltlane"], "plain voltlane was imported"
assert package.__file__.startswith(sys.argv[1]), package.__file__
print(*sorted(names), sep="\\n")
"""

ROUND_TRIP = """
import threading
from x._vendor.voltlane import config
from x._vendor.voltlane.backend import Firehose
from x._vendor.voltlane.client import Connection
from x._vendor.voltlane.server import Server

with Firehose("127.0.0.1:0") as firehose:
    settings = {"listener.address": "127.0.0.1:0", "master.address": str(firehose.address)}
    running = Server(config.load(None, {}, settings))
    running.start()
    serving = threading.Thread(target=running.run)
    serving.start()
    try:
        with Connection(running.listen_address) as connection:
            connection.send(b"hello")
            for packet in firehose.poll(10):
                packet.reply(b"echo " + packet.data)
            firehose.flush()
            print(connection.recv(timeout=10).decode())
    finally:
        running.stop()
        serving.join(10)
assert not serving.is_alive()
assert not [name for name in sys.modules if name.split(".")[0] == "voltlane"], "plain voltlane was imported"
"""


PAGES = """
from x._vendor.voltlane.admin.page import Page
from x._vendor.voltlane.lanes.web.pages import load_pages

for answer in (Page().response, *load_pages("chat").values()):
    print(answer.content_type.partition(";")[0], len(answer.body) > 1000)
"""


@pytest.fixture
def vendored(tmp_path):
    """A folder in which a package x has voltlane in its _vendor."""
    home = tmp_path / "x" / "_vendor"
    home.mkdir(parents=True)
    for folder in (home.parent, home):
        (folder / "__init__.py").write_text("")
    shutil.copytree(PACKAGE, home / "voltlane", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(folder: Path, script: str) -> str:
    """What a script prints that runs in the folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VOLTLANE"))}
    done = subprocess.run(
        [sys.executable, "-c", REFUSE_PLAIN + script, str(folder)],
        cwd=folder,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports_under_its_new_name(vendored):
    expected = {
        ".".join(("x", "_vendor", *path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for path in PACKAGE.rglob("*.py")
        if path.stem not in ("__init__", "__main__")
    }
    assert expected <= set(run(vendored, IMPORT_ALL).split())


def test_an_absolute_import_would_be_noticed(vendored):
    """The test above can fail: also where voltlane is installed, and the import would succeed."""
    module = vendored / "x" / "_vendor" / "voltlane" / "version.py"
    module.write_text("import voltlane.errors\n" + module.read_text())
    with pytest.raises(AssertionError, match="the copy imported voltlane by its absolute name"):
        run(vendored, IMPORT_ALL)


def test_a_packet_goes_round_through_a_vendored_server(vendored):
    assert run(vendored, ROUND_TRIP) == "echo hello\n"


def test_the_command_line_runs_under_its_new_name(vendored):
    """`python -m`, which the demo names to whoever tries it."""
    script = "import runpy\nsys.argv[1:] = ['--version']\nrunpy.run_module('x._vendor.voltlane', run_name='__main__')"
    version = (PACKAGE / "version.py").read_text().split('__version__ = "')[1].split('"')[0]
    assert version in run(vendored, script)


def test_the_pages_are_there(vendored):
    assert run(vendored, PAGES) == "text/html True\ntext/html True\ntext/javascript True\n"


def test_a_copy_with_a_link_that_leads_nowhere_says_what_it_lacks(vendored):
    """As `cp -r` makes it, which does not follow links."""
    script = vendored / "x" / "_vendor" / "voltlane" / "lanes" / "web" / "voltlane.js"
    script.unlink()
    script.symlink_to("../../../clients/js/voltlane.js")
    with pytest.raises(AssertionError, match=r"there is no voltlane\.js in this copy of the package"):
        run(vendored, PAGES)


def test_every_module_is_written_in_the_oldest_python():
    for path in PACKAGE.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))
