"""The house rules that an import can break, checked over the source of every module of the package.

A rule is a function of a module's name ("voltlane.core.hub"; a package's own file ends in ".__init__") and its source,
and yields what is wrong. Each is also shown a small source that breaks it, so that a rule that sees nothing fails here.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "voltlane"
LONGEST_MODULE = 500

LAYERS = {
    "lobby": {
        "errors",
        "reasons",
        "version",
        "address",
        "numerals",
        "percent",
        "statistics",
        "quality",
        "signals",
        "colour",
    },
    "config": {"config"},
    "wire": {"wire"},
    "core": {"core"},
    "net": {"net"},
    "ops": {"ops"},
    "store": {"store"},
    "lanes": {"lanes"},
    "trunk": {"trunk"},
    "cluster": {"cluster"},
    "admin": {"admin"},
    "server": {"server"},
    "libraries": {"client", "backend"},
    "commands": {"commands", "cli", "__main__"},
    "package": {"__init__"},
}
"""The modules and packages of each layer, by the first part of their name below voltlane."""

MAY_IMPORT = {
    "lobby": set(),
    "config": {"lobby"},
    "wire": {"lobby"},
    "core": {"lobby", "config", "wire"},
    "net": {"lobby", "config", "wire", "core"},
    "ops": {"lobby", "config", "core", "net"},
    "store": {"lobby", "config", "wire", "core", "net", "ops"},
    "lanes": {"lobby", "config", "wire", "core", "net", "ops"},
    "trunk": {"lobby", "config", "wire", "core", "net", "ops"},
    "cluster": {"lobby", "config", "wire", "core", "net", "ops", "store", "lanes", "trunk"},
    "admin": {"lobby", "wire", "core", "net", "ops"},
    "server": {"lobby", "config", "wire", "core", "net", "ops", "store", "lanes", "trunk", "cluster", "admin"},
    "libraries": {"lobby", "wire", "net"},
    "commands": {"lobby", "config", "wire", "core", "net", "ops", "store", "cluster", "server", "libraries"},
    "package": {"lobby"},
}
"""The layers that each may import, besides itself."""

TAKES_FROM_CORE = {"net": {"outbox", "timers", "histogram"}, "ops": {"bucket"}}
LIBRARIES_TAKE_FROM_NET = {"sockets", "deadlines", "tls", "openssl"}
PURE = {"lobby", "config", "wire", "core"}
"""Those below wire and core are pure too: what these import is part of them."""
IMPURE_MODULES = {"socket", "select", "selectors", "time", "logging", "threading", "asyncio"}
NOWHERE = {"asyncio", "threading", "_thread", "concurrent", "multiprocessing"}
LOCKS = {"threading.Condition", "threading.Lock"}
"""What the libraries take of that: their callers have threads."""
THIRD_PARTY = {"nacl", "ecdsa", "tomli", "tomli_w"}
OPTIONAL = {"coincurve", "h11", "hiredis", "prometheus_client"}


class Import(NamedTuple):
    """One imported name: `from ..core.outbox import Outbox` in voltlane.net.stream is voltlane.core.outbox.Outbox."""

    line: int
    name: str
    relative: bool
    guarded: bool
    """Whether it stands in a `try` that catches ImportError."""


def imports_of(module: str, source: str) -> Iterator[Import]:
    """Every import, wherever in the module it stands. One that leaves the package upwards has a name of dots."""
    tree = ast.parse(source)
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("ImportError" in ast.dump(handler) for handler in node.handlers)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, False, node in guarded)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join(filter(None, [*parents, node.module])) if parents or not node.level else "." * node.level
            for alias in node.names:
                yield Import(node.lineno, f"{base}.{alias.name}", bool(node.level), node in guarded)


def layer_of(module: str) -> str | None:
    """The layer a name below voltlane belongs to: "voltlane.core.hub.Hub" → "core". None for one that has no place."""
    first = module.split(".")[1]
    return next((layer for layer, names in LAYERS.items() if first in names), None)


def own_imports(module: str, source: str) -> Iterator[Import]:
    """The imports of the package's own modules."""
    return (found for found in imports_of(module, source) if found.relative and found.name.startswith("voltlane."))


def has_a_place(module: str, source: str) -> Iterator[str]:
    """Every module belongs to a layer."""
    if layer_of(module) is None:
        yield f"{module} belongs to no layer; give it a place in LAYERS"


def layers_one_way(module: str, source: str) -> Iterator[str]:
    """lobby ← config ← wire ← core ← net ← ops ← store ← lanes | trunk ← cluster ← admin ← server ← commands.

    Lanes and trunk do not know each other; the libraries stand beside the server, on wire and on sockets.
    """
    own = layer_of(module)
    if own is None:
        return
    for found in own_imports(module, source):
        other = layer_of(found.name)
        if other != own and other not in MAY_IMPORT[own]:
            yield f"{module}:{found.line} ({own}) imports {found.name} ({other})"


def lower_floors_take_little_of_core(module: str, source: str) -> Iterator[str]:
    """The reactor and its streams, and the log, know the modules of TAKES_FROM_CORE, and nothing of clients."""
    takes = TAKES_FROM_CORE.get(layer_of(module) or "")
    if takes is not None:
        for found in own_imports(module, source):
            _, package, *module_parts = found.name.split(".")
            if package == "core" and not takes.intersection(module_parts[:1]):
                yield f"{module}:{found.line} imports {found.name}; of core, it takes {', '.join(sorted(takes))} only"


def libraries_take_little_of_net(module: str, source: str) -> Iterator[str]:
    """A client or a backend makes sockets as the server does, and has no use for its loop."""
    if layer_of(module) == "libraries":
        for found in own_imports(module, source):
            _, package, *module_parts = found.name.split(".")
            if package == "net" and not LIBRARIES_TAKE_FROM_NET.intersection(module_parts[:1]):
                yield f"{module}:{found.line} imports {found.name}; of net, libraries take sockets, deadlines, tls"


def not_its_own_room(module: str, source: str) -> Iterator[str]:
    """A package's `__init__` is for those outside: no file of its own imports it, or anything through it."""
    parts = module.split(".")
    rooms = {".".join(parts[:depth]) for depth in range(2, len(parts))}
    for found in own_imports(module, source):
        if parts[-1] != "__init__" and found.name.rpartition(".")[0] in rooms:
            yield f"{module}:{found.line} imports its own package's __init__: {found.name}"


def rooms_only_reexport(module: str, source: str) -> Iterator[str]:
    """A package's `__init__` says what is in it, and what is for those outside."""
    if not module.endswith(".__init__"):
        return
    for node in ast.parse(source).body:
        said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (said or named or isinstance(node, ast.ImportFrom)):
            yield f"{module}:{node.lineno} does more than to import what others may use"


def own_modules_relatively(module: str, source: str) -> Iterator[str]:
    """By their relative names, and none from outside: so the package works under another name, as a vendored copy."""
    for found in imports_of(module, source):
        if found.name.split(".")[0] == "voltlane" and not found.relative:
            yield f"{module}:{found.line} imports {found.name} by its absolute name"
        elif found.name.startswith("."):
            yield f"{module}:{found.line} leaves the package: {found.name}"


def pure_wire_and_core(module: str, source: str) -> Iterator[str]:
    """No socket, clock, log or thread in wire and core, or in what they stand on."""
    if layer_of(module) in PURE:
        yield from _absolute(module, source, IMPURE_MODULES, "which has no place in wire, core and below them")


def no_threads_and_no_asyncio(module: str, source: str) -> Iterator[str]:
    """One thread and a loop of our own, everywhere; a library may have a lock for its caller's threads."""
    for found in imports_of(module, source):
        if layer_of(module) == "libraries" and found.name in LOCKS:
            continue
        if not found.relative and found.name.split(".")[0] in NOWHERE:
            yield f"{module}:{found.line} imports {found.name.split('.')[0]}, which the package does without"


def few_dependencies(module: str, source: str) -> Iterator[str]:
    """Four packages; coincurve, h11, hiredis and prometheus_client where they are installed."""
    for found in imports_of(module, source):
        top = found.name.split(".")[0]
        if found.relative or top == "voltlane" or is_standard(top) or top in THIRD_PARTY:
            continue
        if top not in OPTIONAL:
            yield f"{module}:{found.line} imports {top}, which is no dependency of ours"
        elif not found.guarded:
            yield f"{module}:{found.line} imports {top}, which is optional, outside a try that catches ImportError"


def not_too_long(module: str, source: str) -> Iterator[str]:
    """A module is one idea."""
    lines = len(source.splitlines())
    if lines > LONGEST_MODULE:
        yield f"{module} has {lines} lines, at most {LONGEST_MODULE} are allowed"


def parses_on_the_oldest_python(module: str, source: str) -> Iterator[str]:
    """No syntax newer than Python 3.9, as far as the parser can tell."""
    try:
        ast.parse(source, feature_version=(3, 9))
    except SyntaxError as error:
        yield f"{module}:{error.lineno} {error.msg}"


def _absolute(module: str, source: str, names: set[str], why: str) -> Iterator[str]:
    for found in imports_of(module, source):
        if not found.relative and found.name.split(".")[0] in names:
            yield f"{module}:{found.line} imports {found.name.split('.')[0]}, {why}"


def is_standard(top: str) -> bool:
    """Whether a module belongs to the standard library, of this Python or of a newer one that we know of."""
    if top == "tomllib":  # since 3.11
        return True
    if hasattr(sys, "stdlib_module_names"):  # since 3.10
        return top in sys.stdlib_module_names
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return False
    origin = Path(spec.origin)
    return not origin.is_absolute() or (
        any(Path(sysconfig.get_path(key)) in origin.parents for key in ("stdlib", "platstdlib"))
        and "site-packages" not in origin.parts
    )


Rule = Callable[[str, str], Iterator[str]]

RULES: list[Rule] = [
    has_a_place,
    layers_one_way,
    lower_floors_take_little_of_core,
    libraries_take_little_of_net,
    not_its_own_room,
    rooms_only_reexport,
    own_modules_relatively,
    pure_wire_and_core,
    no_threads_and_no_asyncio,
    few_dependencies,
    not_too_long,
    parses_on_the_oldest_python,
]


def module_name(path: Path) -> str:
    """voltlane/core/hub.py → voltlane.core.hub"""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def test_there_is_something_to_check():
    assert {"voltlane.__init__", "voltlane.errors", "voltlane.wire.framing"} <= set(SOURCES)


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps_the_rule(rule):
    broken = [violation for module, source in SOURCES.items() for violation in rule(module, source)]
    assert not broken, "\n" + "\n".join(broken)


def test_every_folder_is_a_package():
    """Without an __init__.py a folder would be left out of what is installed."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_every_room_says_what_is_in_it():
    """The docstring of a package's `__init__` names each of its files and rooms."""
    missing = []
    for module, source in SOURCES.items():
        package = PACKAGE.parent.joinpath(*module.split(".")[:-1])
        if module.endswith(".__init__") and package != PACKAGE:
            named = set(re.findall(r"\w+", ast.get_docstring(ast.parse(source)) or ""))
            inside = {
                path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
            }
            missing += [f"{module} does not name {name}" for name in sorted(inside - named - {"__init__"})]
    assert not missing, "\n" + "\n".join(missing)


def circles(sources: dict[str, str]) -> list[list[str]]:
    """The groups of modules each of which leads to every other by imports, wherever in the files these stand."""
    names = {module.removesuffix(".__init__"): module for module in sources}
    leads: dict[str, set[str]] = {}
    for name, module in names.items():
        found = {imported.name for imported in own_imports(module, sources[module])}
        leads[name] = {target if target in names else target.rpartition(".")[0] for target in found} & set(names)
    reached: dict[str, set[str]] = {}
    for name in names:
        seen, todo = set(), [name]
        while todo:
            new = leads[todo.pop()] - seen
            seen |= new
            todo += new
        reached[name] = seen
    groups = {tuple(sorted(other for other in seen if name in reached[other])) for name, seen in reached.items()}
    return sorted([list(group) for group in groups if group])


def test_no_circle_of_files():
    """`TYPE_CHECKING` and imports inside functions counted: what two need is in a third, or they are one."""
    assert circles(SOURCES) == []


def test_a_circle_is_seen():
    sources = {
        "voltlane.a": "from .b import x",
        "voltlane.b": "if TYPE_CHECKING:\n    from .c.d import x",
        "voltlane.c.__init__": "",
        "voltlane.c.d": "def f():\n    from .. import a",
        "voltlane.c.e": "from .d import x",
    }
    assert circles(sources) == [["voltlane.a", "voltlane.b", "voltlane.c.d"]]


BAD = [
    (has_a_place, "voltlane.helpers", "", "belongs to no layer"),
    *(
        (layers_one_way, module, source, message)
        for module, source, message in [
            ("voltlane.errors", "from .wire.framing import frame", "(lobby) imports voltlane.wire.framing.frame"),
            ("voltlane.errors", "from .config import Config", "(lobby) imports voltlane.config.Config (config)"),
            ("voltlane.config.forms", "from ..wire import framing", "(config) imports voltlane.wire.framing (wire)"),
            ("voltlane.wire.framing", "from ..core import hub", "(wire) imports voltlane.core.hub (core)"),
            ("voltlane.wire.batch.plain", "from ...core import hub", "(wire) imports voltlane.core.hub (core)"),
            ("voltlane.core.hub", "from ..net.stream import Stream", "(core) imports voltlane.net.stream.Stream"),
            ("voltlane.core.hub", "def f():\n    from ..net import stream", "voltlane.core.hub:2 (core) imports"),
            ("voltlane.core.hub", "from ..ops.log import log", "(core) imports voltlane.ops.log.log (ops)"),
            ("voltlane.core.__init__", "from ..net import stream", "(core) imports voltlane.net.stream (net)"),
            ("voltlane.net.stream", "from ..lanes import quiet", "(net) imports voltlane.lanes.quiet (lanes)"),
            ("voltlane.net.stream", "from ..ops import log", "(net) imports voltlane.ops.log (ops)"),
            ("voltlane.ops.log", "from ..lanes.quiet import X", "(ops) imports voltlane.lanes.quiet"),
            ("voltlane.lanes.connection", "from ..trunk import trunk", "(lanes) imports voltlane.trunk.trunk (trunk)"),
            ("voltlane.lanes.connection", "from ..server import x", "(lanes) imports voltlane.server.x (server)"),
            ("voltlane.lanes.entry.gate", "from ...admin import events", "(lanes) imports voltlane.admin.events"),
            ("voltlane.trunk.trunk", "from ..lanes import quiet", "(trunk) imports voltlane.lanes.quiet (lanes)"),
            ("voltlane.admin.handlers", "from ..lanes import quiet", "(admin) imports voltlane.lanes.quiet (lanes)"),
            ("voltlane.server.server", "from ..cli import main", "(server) imports voltlane.cli.main (commands)"),
            ("voltlane.server.server", "from ..client import X", "(server) imports voltlane.client.X (libraries)"),
            ("voltlane.client.link", "from ..core.outbox import X", "(libraries) imports voltlane.core.outbox.X"),
            ("voltlane.client.link", "from ..lanes import quiet", "(libraries) imports voltlane.lanes.quiet (lanes)"),
            ("voltlane.commands.serve", "from ..lanes import quiet", "(commands) imports voltlane.lanes.quiet (lanes)"),
            ("voltlane.__init__", "from .server import Server", "(package) imports voltlane.server.Server"),
        ]
    ),
    (lower_floors_take_little_of_core, "voltlane.ops.log", "from ..core.hub import Hub", "it takes bucket only"),
    (
        libraries_take_little_of_net,
        "voltlane.backend.link",
        "from ..net import stream",
        "take sockets, deadlines, tls",
    ),
    (
        libraries_take_little_of_net,
        "voltlane.client.link",
        "from ..net.reactor import X",
        "take sockets, deadlines, tls",
    ),
    (lower_floors_take_little_of_core, "voltlane.net.stream", "from ..core.hub import Hub", "of core, it takes"),
    (lower_floors_take_little_of_core, "voltlane.net.stream", "from ..core import session", "of core, it takes"),
    (lower_floors_take_little_of_core, "voltlane.net.stream", "from .. import core", "of core, it takes"),
    (
        not_its_own_room,
        "voltlane.lanes.entry.gate",
        "from . import greeting",
        "voltlane.lanes.entry.gate:1 imports its own package",
    ),
    (not_its_own_room, "voltlane.lanes.entry.gate", "from .. import quiet", "imports its own package"),
    (not_its_own_room, "voltlane.lanes.entry.gate", "from ..entry import greeting", "imports its own package"),
    (rooms_only_reexport, "voltlane.lanes.__init__", "def f(): pass", "voltlane.lanes.__init__:1 does more than"),
    (rooms_only_reexport, "voltlane.lanes.__init__", "X = 5", "voltlane.lanes.__init__:1 does more than"),
    (own_modules_relatively, "voltlane.client", "import voltlane.errors", "by its absolute name"),
    (own_modules_relatively, "voltlane.client", "from voltlane import errors", "by its absolute name"),
    (own_modules_relatively, "voltlane.core.hub", "from ...other import x", "leaves the package"),
    (own_modules_relatively, "voltlane.client", "from .. import x", "leaves the package"),
    *(
        (pure_wire_and_core, module, source.format(name), f"imports {name}, which has no place")
        for module in ("voltlane.wire.framing", "voltlane.core.hub", "voltlane.errors")
        for name in sorted(IMPURE_MODULES)
        for source in ("import {}", "import os, {}", "from {} import x", "def f():\n    import {}")
    ),
    (pure_wire_and_core, "voltlane.core.hub", "import asyncio.events", "imports asyncio"),
    *(
        (no_threads_and_no_asyncio, module, source.format(name), f"imports {name}, which the package does without")
        for module in ("voltlane.client", "voltlane.net.reactor", "voltlane.commands.demo")
        for name in sorted(NOWHERE)
        for source in ("import {}", "from {} import x")
    ),
    (no_threads_and_no_asyncio, "voltlane.core.hub", "from threading import Lock", "imports threading"),
    (no_threads_and_no_asyncio, "voltlane.client", "from concurrent.futures import ThreadPoolExecutor", "concurrent"),
    (few_dependencies, "voltlane.client", "import requests", "imports requests, which is no dependency"),
    (few_dependencies, "voltlane.client", "from pytest import fixture", "imports pytest, which is no dependency"),
    (few_dependencies, "voltlane.client", "try:\n    import uvloop\nexcept ImportError:\n    pass", "imports uvloop"),
    (few_dependencies, "voltlane.wire.curve", "import coincurve", "is optional, outside a try"),
    (few_dependencies, "voltlane.wire.curve", "try:\n    import coincurve\nfinally:\n    pass", "outside a try"),
    (
        few_dependencies,
        "voltlane.wire.curve",
        "try:\n    f()\nexcept ImportError:\n    import coincurve",
        "outside a try",
    ),
    (not_too_long, "voltlane.client", "\n" * (LONGEST_MODULE + 1), f"has {LONGEST_MODULE + 1} lines"),
    (parses_on_the_oldest_python, "voltlane.client", "match x:\n    case 1: pass", "voltlane.client:"),
]


@pytest.mark.parametrize(("rule", "module", "source", "message"), BAD)
def test_the_rule_catches_what_breaks_it(rule, module, source, message):
    assert message in "\n".join(rule(module, source))


GOOD = [
    (has_a_place, "voltlane.core.anything", ""),
    (layers_one_way, "voltlane.errors", "from .reasons import CloseReason"),
    (layers_one_way, "voltlane.wire.framing", "from ..errors import FrameTooLarge"),
    (layers_one_way, "voltlane.wire.batch.runs", "from ..framing import PREFIX\nfrom .plain import retag"),
    (not_its_own_room, "voltlane.wire.batch.runs", "from ..framing import PREFIX\nfrom .plain import retag"),
    (not_its_own_room, "voltlane.cli", "from .version import __version__"),
    (rooms_only_reexport, "voltlane.lanes.__init__", '"""Doc."""\nfrom .a import b\n__all__ = ["b"]'),
    (layers_one_way, "voltlane.lanes.connection", "from ..core.hub import Hub\nfrom ..net.stream import Stream"),
    (layers_one_way, "voltlane.cli", "from .server import Server\nfrom .commands.demo import demo"),
    (layers_one_way, "voltlane.__main__", "from .cli import main"),
    (libraries_take_little_of_net, "voltlane.client.link", "from .net.sockets import resolve"),
    (layers_one_way, "voltlane.__init__", "from .version import __version__"),
    (
        lower_floors_take_little_of_core,
        "voltlane.net.stream",
        "from ..core.outbox import Outbox\nfrom ..core import timers",
    ),
    (lower_floors_take_little_of_core, "voltlane.lanes.connection", "from ..core.hub import Hub"),
    (
        own_modules_relatively,
        "voltlane.core.hub",
        "from ..errors import X\nfrom . import session\nfrom .. import config",
    ),
    (pure_wire_and_core, "voltlane.net.reactor", "import socket, time, selectors"),
    (pure_wire_and_core, "voltlane.core.hub", "import struct\nfrom .timers import Timer"),
    (no_threads_and_no_asyncio, "voltlane.net.reactor", "import select\nimport concurrency_of_another_name"),
    (no_threads_and_no_asyncio, "voltlane.client.driver", "from threading import Condition, Lock"),
    (few_dependencies, "voltlane.config.sources", "import tomllib\nimport tomli\nimport tomli_w\nimport os.path"),
    (few_dependencies, "voltlane.wire.crypto", "from nacl.bindings import x\nfrom ecdsa import SECP256k1"),
    (few_dependencies, "voltlane.wire.curve", "try:\n    import coincurve\nexcept ImportError:\n    coincurve = None"),
    (not_too_long, "voltlane.client", "\n" * LONGEST_MODULE),
    (parses_on_the_oldest_python, "voltlane.client", "from __future__ import annotations\nx: int | None = None"),
]


@pytest.mark.parametrize(("rule", "module", "source"), GOOD)
def test_the_rule_lets_the_rest_pass(rule, module, source):
    assert list(rule(module, source)) == []


def test_every_rule_is_shown_something_to_catch_and_something_to_let_pass():
    assert {case[0] for case in BAD} == {case[0] for case in GOOD} == set(RULES)


def test_what_belongs_to_the_standard_library():
    assert all(map(is_standard, ["os", "sys", "time", "socket", "select", "dataclasses", "collections", "tomllib"]))
    assert not any(map(is_standard, ["pytest", "nacl", "no_such_module"]))
