"""The client in JavaScript, as far as it can be looked at without a network: size, types, what is packed. The rest is
`make test-js`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from kit.node import CLIENT, needs_modules, needs_node, run

from voltlane.version import __version__

MEMBERS = """
import { connect } from "./voltlane.js";
class WebSocket extends EventTarget { close() {} }
const connection = connect("ws://localhost:1/", { WebSocket, EventSource: null });
const names = Object.getOwnPropertyNames(Object.getPrototypeOf(connection));
console.log(JSON.stringify([Object.keys(await import("./voltlane.js")), names]));
await connection.close(3005);
"""


def typed() -> str:
    return (CLIENT / "voltlane.d.ts").read_text(encoding="utf-8")


def block(name: str) -> str:
    """What stands between the braces of an interface."""
    return re.split(r"^\}", typed().split(f"export interface {name} ", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@needs_modules
def test_it_is_small() -> None:
    said = run("test/size.js")
    assert int(re.search(r"(\d+) bytes minified", said)[1]) < 8000  # type: ignore[index]


@needs_node
def test_the_types_name_what_there_is() -> None:
    exported, members = json.loads(run("--input-type=module", "--eval", MEMBERS))
    assert exported == re.findall(r"^export function (\w+)", typed(), re.MULTILINE)
    named = set(re.findall(r"^  (?:readonly )?(\w+)[(:<]", block("Connection"), re.MULTILINE))
    assert set(members) - {"constructor"} == named - {"removeEventListener"}


def test_the_types_and_the_readme_name_every_option() -> None:
    source = (CLIENT / "voltlane.js").read_text(encoding="utf-8")
    parameters = source.split("export const connect", 1)[1].split("} = {}", 1)[0]
    options = re.findall(r"^    (\w+)(?: = .*)?,$", parameters, re.MULTILINE)
    assert len(options) > 10
    assert sorted(re.findall(r"^  (\w+)\?:", block("Options"), re.MULTILINE)) == sorted(options)
    table = (CLIENT / "README.md").read_text(encoding="utf-8").split("\n## Options\n", 1)[1].split("\n## ", 1)[0]
    assert sorted(re.findall(r"`(\w+)`(?=[^|]*\|[^|]*\|[^|]*\|\n)", table)) == sorted(options)


def test_its_version_is_the_servers() -> None:
    for name in ("package.json", "package-lock.json"):
        assert json.loads((CLIENT / name).read_text(encoding="utf-8"))["version"] == __version__


@needs_node
@pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm")
def test_what_is_packed() -> None:
    npm = ["npm", "pack", "--dry-run", "--json", "--offline", "--ignore-scripts"]
    packed = json.loads(subprocess.run(npm, cwd=CLIENT, capture_output=True, check=True, timeout=60).stdout)
    (package,) = packed if isinstance(packed, list) else packed.values()
    files = {file["path"] for file in package["files"]}
    assert files == {"voltlane.js", "voltlane.d.ts", "package.json", "README.md", "LICENSE"}
