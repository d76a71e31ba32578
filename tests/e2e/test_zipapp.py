"""The whole program in one zip file (zipapp): the server serves from it, and everything it reads is found there."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest
from kit.process import Process
from kit.program import ROOT, environment
from kit.raw_client import RawClient
from kit.raw_master import RawMaster

MAIN = "import sys\n\nfrom voltlane.__main__ import main\n\nsys.exit(main())\n"
MARK = "<!-- from the zip file -->"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Of the package as it is, but for a mark in the page: what is installed has none."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "voltlane", source / "voltlane", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (source / "__main__.py").write_text(MAIN, encoding="utf-8")
    page = source / "voltlane" / "admin" / "page.html"
    page.write_text(page.read_text(encoding="utf-8") + MARK, encoding="utf-8")
    target = tmp_path / "voltlane.pyz"
    zipapp.create_archive(source, target)
    shutil.rmtree(source)
    return target


@pytest.mark.parametrize("options", [[], ["-I"]], ids=["as usual", "isolated"])
def test_serves_from_a_zip_file(archive: Path, options: list[str]) -> None:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    with RawMaster() as master:
        addresses = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--master", master.address]
        environ = environment(PYTHONPATH="", PYTHONSAFEPATH="1")
        with Process([*options, str(archive), "serve", *addresses], environ) as server:
            master.accept()
            server.wait_for_log("clients connect to ")
            found = dict(re.findall(r"(clients|admin endpoint) (?:connect to|is at) (127\S+)", server.log))
            with RawClient.new(found["clients"]) as client:
                client.send(b"up")
                assert master.recv().data == b"up"
            connection = http.client.HTTPConnection(found["admin endpoint"], timeout=20)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read().decode().endswith(MARK)
            connection.close()
            assert server.stop() == 0


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["--print-config"], ["connect", "127.0.0.1:1"]], ids=str)
def test_answers_from_a_zip_file(archive: Path, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(archive), *words]
    ran = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30)
    assert "Traceback" not in ran.stderr and ran.returncode == (1 if "connect" in words else 0)
    assert "oltlane" in ran.stdout + ran.stderr
