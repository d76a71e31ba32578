"""A gateway as OpenWrt's packages make it: of Python only the modules of the packages that are named, and of Voltlane
.pyc files without their sources.

install(site)
with run(site, ["python3-light", "python3-logging"], "serve", "--config", str(file)) as process: ...
"""

from __future__ import annotations

import compileall
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import files
from pathlib import Path

from kit.process import Process

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LIGHT = "python3-light"
_DATA = tomllib.loads(Path(__file__).with_name("openwrt.toml").read_text(encoding="utf-8"))
PACKAGES: dict[str, dict[str, list[str]]] = _DATA["packages"]
NOWHERE: list[str] = _DATA["nowhere"]["modules"]
COPIED = ["ecdsa", "prometheus_client", *(["tomli"] if sys.version_info < (3, 11) else [])]
"""Distributions that no package has: they are copied beside Voltlane."""
PACKAGED = ["pynacl", "cffi", "pycparser", "six", "h11"]
"""Distributions that packages have, as in openwrt.toml."""

# Without site, so that nothing is loaded yet but what the interpreter itself needs.
_BOOT = """
import sys

REFUSED = frozenset(sys.argv[2].split(","))

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

assert REFUSED.isdisjoint(sys.modules), REFUSED.intersection(sys.modules)
sys.meta_path.insert(0, Refuse())
sys.path.append(sys.argv[1])
sys.dont_write_bytecode = True  # as OpenWrt builds it
del sys.argv[1:3]
import runpy
runpy.run_module("voltlane", run_name="__main__", alter_sys=True)
"""
_EXECUTE = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


def install(site: Path) -> None:
    """Put Voltlane and what it may need into a folder. What of it is there for a process is said by its packages."""
    without = shutil.ignore_patterns("__pycache__", "*.so", "*.c")  # nobody has compiled anything for a gateway
    shutil.copytree(ROOT / "voltlane", site / "voltlane", ignore=without)
    for distribution in (*COPIED, *PACKAGED):
        for file in files(distribution) or ():
            if file.parts[0] != ".." and "__pycache__" not in file.parts:
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)
    assert compileall.compile_dir(site, quiet=1, legacy=True)
    for source in site.rglob("*.py"):
        source.unlink()


def installed(packages: Iterable[str]) -> Iterator[str]:
    """These packages, and those that they bring."""
    for package in packages:
        yield package
        yield from installed(PACKAGES.get(package, {}).get("brings", ()))


def refused(packages: Sequence[str]) -> set[str]:
    """The modules that are in none of these packages."""
    there = set(installed(packages))
    assert LIGHT in there and there <= {LIGHT, *PACKAGES}, f"openwrt.toml does not know all of {there}"
    absent = {module for package, row in PACKAGES.items() if package not in there for module in row["modules"]}
    return absent.union(NOWHERE)


def run(site: Path, packages: Sequence[str], *arguments: str, by: Sequence[str] = ()) -> Process:
    """The program with the modules of these packages. `by`: the beginning of the command, which runs the rest."""
    python = [sys.executable, "-I", "-S", "-c", _BOOT, str(site), ",".join(sorted(refused(packages)))]
    return Process(["-c", _EXECUTE, *by, *python, *arguments], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
