"""The documentation says what is so: settings, exit codes, reasons and log lines against the code, links and paths
against the tree, commands against the Makefile and the command line; and what it tells people to run is run."""

from __future__ import annotations

import ast
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.admin import watched_world
from kit.lanes import tls
from kit.program import Program, environment
from kit.wait import wait_until
from kit.world import DatagramsThere

from voltlane import cli, errors, quality, server
from voltlane.admin import exposition
from voltlane.client import Connection
from voltlane.config import SETTINGS, Setting, load
from voltlane.core.protocols.ends import CODES
from voltlane.reasons import AdminEnd, CloseReason, DatagramDrop, EndReason, Hold, StoreEnd, Symbol
from voltlane.statistics import ClientRow, StoreFigures, WorkerFigures
from voltlane.wire.v3 import Code

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
THREATS = ROOT / "docs" / "threat-model.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
TIMEOUT = 20.0

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:voltlane|tests|docs|examples|deploy|\.ci)/[\w./-]+)`")
_CODE = re.compile(r"`([^`\n]+)`")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """The contents of a document's fenced blocks in that language."""
    return [body for name, body in _FENCE.findall(text_of(path)) if name == language]


def table_below(path: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    _, found, rest = text_of(path).partition(f"\n{heading}\n")
    assert found, f"{path.name} has no heading {heading!r}"
    rows = re.search(r"^\|.*\n\| --- .*\n((?:\|.*\n)*)", rest, re.MULTILINE)
    assert rows, f"{path.name}: no table below {heading!r}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows.group(1).splitlines()]


# ---- settings, exit codes, reasons


def settings_row(row: Setting) -> str:
    cells = (f"`{row.name}`", f"`{row.default_text}`", row.unit, f"`{row.env}`", row.help)
    return "| " + " | ".join(cells) + " |"


def test_the_readme_has_every_setting_as_it_is():
    wanted = "".join(settings_row(row) + "\n" for row in SETTINGS.values())
    found = re.search(r"^\| Key \|.*\n\| --- .*\n((?:\|.*\n)*)", text_of(README), re.MULTILINE)
    assert found, "no table of settings"
    assert found.group(1) == wanted, "the table ought to be:\n" + wanted


def test_the_table_of_what_a_reload_changes_is_complete():
    wanted = [
        [f"`[{section}]`", *(", ".join(reload_keys(section, live)) or "–" for live in (True, False))]
        for section in dict.fromkeys(row.section for row in SETTINGS.values())
    ]
    rows = "".join("| " + " | ".join(cells) + " |\n" for cells in wanted)
    assert table_below(OPERATIONS, "## Reloading") == wanted, "the table ought to be:\n" + rows


def reload_keys(section: str, live: bool) -> list[str]:
    return [f"`{row.key}`" for row in SETTINGS.values() if (row.section, row.live) == (section, live)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_settings_that_are_mentioned_exist(path: Path):
    sections = {row.section for row in SETTINGS.values()}
    mentioned = {
        name for name in _CODE.findall(text_of(path)) if re.fullmatch(rf"({'|'.join(sections)})\.[a-z_]+", name)
    }
    variables = set(re.findall(r"VOLTLANE_[A-Z0-9_]*[A-Z0-9]", text_of(path))) - {"VOLTLANE_PURE_PYTHON"}
    assert mentioned <= set(SETTINGS)
    assert variables <= {row.env for row in SETTINGS.values()} | {row.full_env for row in SETTINGS.values()}


@pytest.mark.parametrize("path", [README, OPERATIONS], ids=lambda path: path.name)
def test_exit_codes_are_those_there_are(path: Path):
    codes = {value for module in (cli, server) for name, value in vars(module).items() if name.startswith("EXIT_")}
    heading = "## Command line" if path is README else "## Exit codes"
    section = text_of(path).partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
    assert sorted(listed) == sorted({0} | codes)


@pytest.mark.parametrize(
    "heading, reasons",
    [
        ("### Why a connection was closed", CloseReason),
        ("### Why a session ended", EndReason),
        ("### Why nobody is accepted", Hold),
        ("### Why the admin endpoint gives up", AdminEnd),
        ("### Why the store is given up", StoreEnd),
        ("### Why datagrams are dropped", DatagramDrop),
    ],
    ids=["CloseReason", "EndReason", "Hold", "AdminEnd", "StoreEnd", "DatagramDrop"],
)
def test_every_reason_is_explained(heading: str, reasons: type[Symbol]):
    rows = table_below(OPERATIONS, heading)
    assert [row[0].strip("`") for row in rows] == [reason.value for reason in reasons]
    assert all(len(cell) > 5 for row in rows for cell in row[1:])


NUMBERS = [
    (OPERATIONS, "six tenths of `general.shutdown_secs`", "server.farewell.Step.WRITING.value", 0.6),
    (OPERATIONS, "anything for 0.25 s", "server.farewell.QUIET_SECS", 0.25),
    (OPERATIONS, "some 16 hundredths", "server.farewell.Step.READING.value", 0.16),
    (OPERATIONS, "the last tenth", "server.farewell.Step.HEARD.value", 0.1),
    (OPERATIONS, "20 a second of each reason", "ops.log.PeerLog.__init__.__defaults__", (20,)),
    (OPERATIONS, "two seconds later one by itself", "ops.unwritten.TRY_SECS", 2.0),
    (OPERATIONS, "asks for 4096", "net.sockets.BACKLOG", 4096),
    (OPERATIONS, "(128 bytes during the handshake)", "wire.v2.MAX_HANDSHAKE_FRAME", 128),
    (OPERATIONS, "a record of more than 65,535 bytes", "wire.noise.MESSAGE_MAX", 65_535),
    (OPERATIONS, "or an opening of more than 512", "core.protocols.v3.MAX_ENTRY", 512),
    (OPERATIONS, "each gets less, down to 4 KiB", "lanes.windows.SMALLEST", 4 << 10),
    (OPERATIONS, "and 128 KiB that are sealed", "lanes.sealed.MOST_SEALED", 128 << 10),
    (OPERATIONS, "Past four fifths", "core.budget.NEAR", 0.8),
    (OPERATIONS, "once 4 MiB from the master", "trunk.connection.BITE", 4 << 20),
    (OPERATIONS, "256 KiB from some clients", "lanes.fairness.turns.QUANTUM", 256 << 10),
    (OPERATIONS, "read (64 KiB) in debt", "lanes.fairness.meter.MOST_OWED", 64 << 10),
    (OPERATIONS, "at most every ten seconds", "lanes.fairness.shed.QUIET_SECS", 10.0),
    (OPERATIONS, "every 5 s the server tries", "store.session_store.RETRY_SECS", 5.0),
    (OPERATIONS, "up to 1 MiB of what is over", "store.session_store.SPARE", 1 << 20),
    (ARCHITECTURE, "most 2^20, so that crashes", "store.session_store.ID_BLOCK", 1 << 20),
    (OPERATIONS, "or 8,192 in the first minute", "store.session_store.FIRST_BLOCK", 2 * 8192),
    (OPERATIONS, "more than a minute", "lanes.connection.MOST_OWED_SECS", 60.0),
    (ARCHITECTURE, "500 sessions at a time", "store.session_store.SLICE", 500),
    (OPERATIONS, "and is at most 4096 bytes long", "wire.proxy.MAX_HEADER", 4096),
    (OPERATIONS, "**Limits.** 64 connections", "admin.places.MOST_CONNECTIONS", 64),
    (OPERATIONS, "request lines of 2048 bytes", "wire.http1.conversation.MAX_LINE", 2048),
    (OPERATIONS, "headers of 8192", "wire.http1.conversation.MAX_HEAD", 8192),
    (OPERATIONS, "bodies of 4096", "wire.http1.conversation.MAX_BODY", 4096),
    (OPERATIONS, "30 seconds for a request", "admin.connection.PATIENCE_SECS", 30.0),
    (OPERATIONS, "dropped when 256 KiB wait for it", "admin.events.VIEWER_BYTES", 256 << 10),
    (OPERATIONS, "has at most 16 viewers", "admin.events.MOST_VIEWERS", 16),
    (OPERATIONS, "at most 24 answers may be under way", "admin.places.MOST_ANSWERS", 24),
    (OPERATIONS, "8 of these are kept for `/metrics`", "admin.places.FOR_METRICS", 8),
    (ARCHITECTURE, "it reads up to 64 KiB", "lanes.fairness.turns.FIRST_QUANTUM", 64 << 10),
    (ARCHITECTURE, "or 256 KiB if it filled its last read", "lanes.fairness.turns.QUANTUM", 256 << 10),
    (ARCHITECTURE, "one whole packet of up to 1 KiB", "lanes.shared.QUIET", 1 << 10),
    (ARCHITECTURE, "has more than 64 KiB", "lanes.partial.SMALL", 64 << 10),
    (ARCHITECTURE, "Reads of 256 KiB", "lanes.fairness.turns.QUANTUM", 256 << 10),
    (ARCHITECTURE, "Frames over 4 KiB", "wire.batch.views.LARGE", 4 << 10),
    (ARCHITECTURE, "once 256 KiB are there", "trunk.trunk.STAGE", 256 << 10),
    (ARCHITECTURE, "bites of up to 4 MiB", "trunk.connection.BITE", 4 << 20),
    (ARCHITECTURE, "ticks of 50 ms", "net.reactor.TICK", 0.05),
    (ARCHITECTURE, "at most 128 KiB of packets ahead", "lanes.sealed.MOST_SEALED", 128 << 10),
    (ARCHITECTURE, "sealed with 17 bytes in front", "wire.v3.HEAD_SIZE", 17),
    (ARCHITECTURE, "A chunk of up to 1 KiB that is the only one", "core.protocols.flow.SMALL", 1 << 10),
    (ARCHITECTURE, "a quarter of what the client retains", "core.protocols.flow.SHARE", 4),
    (ARCHITECTURE, "no more than an eighth of `limits.memory_bytes`", "lanes.windows.SHARE", 8),
    (ARCHITECTURE, "begins with 64 KiB", "lanes.windows.FIRST", 64 << 10),
    (ARCHITECTURE, "4 KiB for each", "lanes.windows.SMALLEST", 4 << 10),
    (ARCHITECTURE, "a part in 32 of `clients.outbox_bytes`", "lanes.fairness.pressure.PARK_SHARE", 32),
    (ARCHITECTURE, "1,024 at most (of what is beyond", "lanes.receipts.MOST_MARKS", 1024),
    (ARCHITECTURE, "the latest 1,024 are remembered", "core.openings.MOST", 1024),
    (ARCHITECTURE, "of the latest 4,096", "core.tombstones.MOST", 4096),
    (ARCHITECTURE, "at its count times 2^40", "core.delivery.EPOCH_SPAN", 1 << 40),
    (ARCHITECTURE, "46 bytes of credential", "core.protocols.secrets._SETTLED.size", 46),
    (OPERATIONS, "an eighth of `limits.memory_bytes`", "lanes.windows.SHARE", 8),
    (OPERATIONS, "it begins with 64 KiB", "lanes.windows.FIRST", 64 << 10),
    (THREATS, "an eighth of `limits.memory_bytes`", "lanes.windows.SHARE", 8),
    (THREATS, "Each 65,536 records", "wire.noise.REKEY_EVERY", 65_536),
    (THREATS, "of an opening or a resume of version 3 512", "core.protocols.v3.MAX_ENTRY", 512),
    (THREATS, "the latest 4,096; the latest 1,024", "core.tombstones.MOST", 4096),
    (THREATS, "8 MiB from the master", "wire.framing.MAX_TAGGED", 8 << 20),
    (THREATS, "8 MiB less the tag", "config.Clients.packet_size_limit", (8 << 20) - 9),
]


@pytest.mark.parametrize("path, phrase, name, said", NUMBERS, ids=[name for _, _, name, _ in NUMBERS])
def test_numbers_are_the_codes(path: Path, phrase: str, name: str, said: object):
    assert phrase in " ".join(text_of(path).split()), "the phrase has changed: see that its number is still checked"
    assert pkgutil.resolve_name(f"voltlane.{name}") == said


# ---- log lines

_LOGGERS = {"log": {"debug", "info", "warning", "error"}, "_log": {"debug", "info", "warning", "error"}}
_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?(?:[.\d]*)[a-z]")


def log_formats() -> Iterator[str]:
    """The format of every line that the server or the backend library may log."""
    for path in sorted((ROOT / "voltlane").rglob("*.py")):
        for node in ast.walk(ast.parse(text_of(path))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.attr in _LOGGERS.get(node.func.value.id, ())
            ):
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: a log line without a fixed text"
                yield str(node.args[0].value)


def documented(pattern: str, lines: list[str]) -> bool:
    """Whether one of the lines is of that log format, with anything (or, glued to other text, nothing) filled in."""
    literal = [re.escape(part) for part in _PLACEHOLDER.split(pattern)]
    return any(re.fullmatch(".*".join(literal), line) for line in lines)


FORMATS = sorted(set(log_formats()))


def test_the_log_formats_are_found():
    assert "clients connect to %s" in FORMATS
    assert len(FORMATS) > 10


@pytest.mark.parametrize("pattern", FORMATS)
def test_every_log_line_is_explained(pattern: str):
    lines = [cell for row in table_below(OPERATIONS, "## Log lines") for cell in _CODE.findall(row[0])]
    assert documented(pattern, lines), f"no line of the form {pattern!r} in docs/operations.md, below ## Log lines"


def test_no_log_line_is_explained_that_there_is_not():
    # A format without a word of its own, as that of lines about failed peers is, would fit everything.
    formats = [pattern for pattern in FORMATS if re.search("[a-z]{3}", _PLACEHOLDER.sub("", pattern))]
    for row in table_below(OPERATIONS, "## Log lines"):
        for line in _CODE.findall(row[0]):
            assert "REASON" in line or any(documented(pattern, [line]) for pattern in formats), f"nothing logs {line!r}"


def test_a_log_line_that_is_missing_is_missed():
    assert documented("no master at %s: trying again in %.1f s", ["no master at ADDRESS: trying again in N s"])
    assert not documented("no master at %s", ["a master at ADDRESS"])


# ---- symptoms, metrics

SYMPTOMS = {
    heading: body
    for heading, body in re.findall(
        r"^### (.*)\n((?:(?!#).*\n)+)", text_of(OPERATIONS).partition("\n## Symptoms\n")[2].partition("\n## ")[0], re.M
    )
}
REASONS = {reason.value: reason for kind in (EndReason, Hold, CloseReason) for reason in kind}


def rows_of(symptom: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in SYMPTOMS[symptom].splitlines() if line.startswith("| ")][2:]


def test_there_is_a_place_for_each_symptom():
    wanted = ["A client was dropped", "A client is slow", "A client is refused", "Packets are missing"]
    assert list(SYMPTOMS) == [*wanted, "The backend is down"]
    for symptom in SYMPTOMS:
        assert len(rows_of(symptom)) > 4 and all(len(row) == 3 and all(row) for row in rows_of(symptom))
        named = set(_CODE.findall(SYMPTOMS[symptom]))
        assert named & set(SETTINGS) and named & set(REASONS), symptom
        assert any(name.startswith("voltlane_") for name in named), symptom


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_what_shows_a_symptom_is_there(symptom: str):
    """Each name is that of a metric, setting, reason, line of the log, path or error; a code is that of its reasons."""
    lines = [cell for row in table_below(OPERATIONS, "## Log lines") for cell in _CODE.findall(row[0])]
    columns = set(ClientRow._fields)
    for shown, _, _ in rows_of(symptom):
        reasons = []
        for name in _CODE.findall(shown):
            if name in REASONS:
                reasons.append(REASONS[name])
            elif not name.startswith(("voltlane_", "voltlane ", "/")) and name not in columns:
                assert name in lines or name in SETTINGS or hasattr(errors, name), name
        codes = {int(code) for code in re.findall(r"(?<!\d)3[05]\d\d(?!\d)", shown)}
        told = {CODES.get(reason, Code.DROPPED) for reason in reasons if isinstance(reason, CloseReason)}
        if any(isinstance(reason, EndReason) for reason in reasons):
            told.add(Code.UNKNOWN_SESSION)
        assert codes <= told, shown


def test_metrics_that_are_mentioned_exist(tmp_path: Path):
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    parser = pytest.importorskip("prometheus_client.parser", reason="the extra `web` is not installed")
    with watched_world({"admin.address": f"unix:{tmp_path}/admin"}) as made:
        made.new(lane=tls)
        worker = WorkerFigures(0, "ready", 1, 1, 0, 0, 0, 0, 0, 0, 0, 0.0, 0)
        store = StoreFigures(True, "", 0, 0, 0, 0.0, 0)
        made.server.datagrams = DatagramsThere()
        statistics = made.server.statistics()._replace(workers=(worker,), store=store)
        body, _ = exposition.expose(statistics, True, "text/plain")
    families = list(parser.text_string_to_metric_families(body.decode()))
    there_are = {sample.name for family in families for sample in family.samples} | {family.name for family in families}
    for path in DOCUMENTS:
        mentioned = {name for name in _CODE.findall(text_of(path)) if re.fullmatch(r"voltlane_\w+", name)}
        assert mentioned <= there_are, path.name


# ---- links, paths, commands


def anchors(path: Path) -> set[str]:
    """The anchors that headings get."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_and_paths_lead_somewhere(path: Path):
    text = text_of(path)
    for target in _LINK.findall(text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{path.name} links to {target}"
    for name in _PATH.findall(text):
        assert (ROOT / name).exists(), f"{path.name} names {name}"


def test_tests_that_are_named_are_in_the_files_in_front_of_them():
    """`tests/some/file.py` (`test_this`, `test_that`), in the threat model's tables."""
    named = re.findall(r"`(tests/[\w./-]+\.py)` \(((?:`test_\w+`(?:, )?)+)\)", text_of(THREATS))
    assert len(named) > 20
    for file, tests in named:
        for name in _CODE.findall(tests):
            assert f"def {name}(" in text_of(ROOT / file), f"{file} has no {name}"


def test_the_building_blocks_of_a_relay_are_where_the_readme_says():
    rows = table_below(README, "### Writing your own relay")
    assert len(rows) > 6
    for _, here, _ in rows:
        names = _CODE.findall(here)
        assert names
        for name in names:
            found: object = quality
            if name == "now":  # an argument, and no clock
                assert not {"time", "datetime"} & set(vars(quality.link)), name
                continue
            for part in name.split("."):
                found = getattr(found, part)
            assert name.split(".")[0] in quality.__all__ and found.__doc__, name


def test_links_are_found_at_all():
    assert len(_LINK.findall(text_of(README))) > 10


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_make_targets_exist(path: Path):
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    commands = [line for block in blocks(path, "sh") for line in block.splitlines()] + _CODE.findall(text_of(path))
    for command in commands:
        if command.startswith("make "):
            named = [word for word in shlex.split(command, comments=True)[1:] if "=" not in word]
            assert set(named) <= targets, command


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_commands_and_flags_exist(path: Path, capsys: pytest.CaptureFixture[str]):
    """Every `python voltlane.py …` line is one that the command line takes."""
    for block in blocks(path, "sh"):
        for line in block.splitlines():
            found = re.search(r"(?:voltlane\.py|-m voltlane|\bvoltlane) ((?:[a-z]+|--[a-z-]+)(?: .*)?)$", line)
            if not found:
                continue
            words = shlex.split(found.group(1), comments=True)
            command = next((word for word in words if not word.startswith("-")), "serve") if words[0][0] != "-" else ""
            with pytest.raises(SystemExit) as ended:
                cli.main([command, "--help"] if command else ["--help"])
            assert ended.value.code == 0, line
            known = capsys.readouterr().out
            for word in words:
                assert not word.startswith("--") or word.partition("=")[0] in known, line


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_example_configurations_are_right(path: Path, tmp_path: Path):
    for block in blocks(path, "toml"):
        file = tmp_path / "example.toml"
        file.write_text(block, encoding="utf-8")
        load(file)


# ---- what people are told to run


def snippet(beginning: str) -> str:
    """The README's Python block that begins with this."""
    (found,) = [block for block in blocks(README, "python") if block.startswith(beginning)]
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_python_blocks_compile(path: Path):
    for block in blocks(path, "python"):
        compile(block, path.name, "exec")


def test_the_backend_and_the_client_of_the_readme_work(tmp_path: Path):
    hose = f"unix:{tmp_path}/master"
    backend = snippet("# backend.py")
    assert backend.count('"127.0.0.1:42001"') == 1
    (tmp_path / "backend.py").write_text(backend.replace("127.0.0.1:42001", hose), encoding="utf-8")
    said = tmp_path / "said"
    with Program("serve", "--listen", "127.0.0.1:0", "--master", hose, cwd=tmp_path) as serving:
        address = serving.wait_err(r"clients connect to (\S+)")[1]
        client = snippet("# client.py")
        assert client.count('"127.0.0.1:42000"') == 1
        (tmp_path / "client.py").write_text(client.replace("127.0.0.1:42000", address), encoding="utf-8")
        with open(said, "wb") as file:
            command = [sys.executable, "backend.py"]
            running = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=file, stderr=subprocess.PIPE)
        try:
            ran = subprocess.run(
                [sys.executable, "client.py"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, timeout=TIMEOUT
            )
            found = re.fullmatch(rb"client (\d+)\nb'HELLO'\nb'STILL ME'\n", ran.stdout)
            assert found and ran.returncode == 0
            told = b"client %s is back\nclient %s is gone: Client disconnected\n" % (found[1], found[1])
            wait_until(lambda: said.read_bytes() == told, "the backend to hear of the reconnection, and of the end")
            running.send_signal(signal.SIGINT)  # Ctrl-C, at which one ends it
            assert running.communicate(timeout=TIMEOUT) == (None, b"") and running.returncode == 0
        finally:
            running.kill()
            running.communicate(timeout=TIMEOUT)


def test_the_backend_of_the_readme_is_told_of_every_client_of_a_server_that_begins_anew(tmp_path: Path):
    """Without `general.state_dir` there is nobody left to say that those clients are gone."""
    backend = snippet("# backend.py").replace("127.0.0.1:42001", f"unix:{tmp_path}/master")
    (tmp_path / "backend.py").write_text(backend, encoding="utf-8")
    serve = ("serve", "--listen", f"unix:{tmp_path}/clients", "--master", f"unix:{tmp_path}/master")
    said = tmp_path / "said"

    def talk(serving: Program) -> int:
        """A client that is answered, and still there when the server is killed. Its id."""
        serving.wait_err("clients connect to")
        with Connection(f"unix:{tmp_path}/clients") as connection:
            connection.send(b"hello")
            assert connection.recv(TIMEOUT) == b"HELLO"
            serving.process.kill()
            serving.process.wait(TIMEOUT)
            return connection.client_id

    with open(said, "wb") as file:
        running = subprocess.Popen([sys.executable, "backend.py"], cwd=tmp_path, env=environment(), stdout=file)
    try:
        told = b""
        for _ in range(2):
            with Program(*serve, cwd=tmp_path) as serving:
                told += b"client %d is gone: connection server lost\n" % talk(serving)
                wait_until(lambda: said.read_bytes() == told, "the backend to hear of the end")  # noqa: B023
    finally:
        running.terminate()
        running.wait(TIMEOUT)


def test_the_embedded_server_of_the_readme_listens(tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", snippet("from voltlane.config import load")],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        timeout=TIMEOUT,
    )
    assert ran.returncode == 0
    assert re.fullmatch(rb"127\.0\.0\.1:\d+\n", ran.stdout)


# ---- what a reader finds first


def headings(path: Path, level: str) -> list[str]:
    return re.findall(rf"^{level} (.*)$", _FENCE.sub("", text_of(path)), re.MULTILINE)


def test_the_contents_of_operations_are_complete_and_in_order():
    contents = text_of(OPERATIONS).partition("\n## Contents\n")[2].partition("\n## ")[0]
    listed = [" ".join(name.split()) for name in re.findall(r"\[([^\]]+)\]\(#", contents)]
    wanted = [name for level, name in re.findall(r"^(###?) (.*)$", _FENCE.sub("", text_of(OPERATIONS)), re.MULTILINE)]
    assert headings(OPERATIONS, "##")[:2] == ["In one minute", "Contents"]
    assert listed == wanted[2:]


def test_every_command_is_in_the_readme():
    assert sorted(row[0].strip("`") for row in table_below(README, "## Command line")) == sorted(cli._COMMANDS)


def test_what_takes_a_minute_works(tmp_path: Path):
    """The commands of `In one minute`, but for pip and where they put things."""
    section = text_of(OPERATIONS).partition("\n## In one minute\n")[2].partition("\n## ")[0]
    (block,) = [body for name, body in _FENCE.findall(section) if name == "sh"]
    commands = [line.split()[1:] for line in block.splitlines() if line.startswith("/opt/voltlane/bin/voltlane ")]
    assert [words[0] for words in commands] == ["init", "serve"]
    for words in commands:
        words = [word.replace("/etc/voltlane", str(tmp_path)) for word in words]
        ran = subprocess.run(
            [sys.executable, "-m", "voltlane", *words], cwd=tmp_path, env=environment(), timeout=TIMEOUT
        )
        assert ran.returncode == 0


# ---- what is on no index


def tracked() -> list[Path]:
    ran = subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT)
    if ran.returncode:
        pytest.skip("this is no checkout")
    return [ROOT / name for name in ran.stdout.splitlines()]


def test_nobody_is_told_to_install_from_an_index_what_is_not_there():
    """Whoever puts a package of this name there would be installed."""
    advice = re.compile(r"pip3? install (?:-\S+ |--\S+ )*['\"]?voltlane(?![-\w]*-VERSION)\b")
    assert advice.search("pip install voltlane") and advice.search("pip install --quiet 'voltlane[web]'")
    for path in tracked():
        if path != Path(__file__) and path.suffix in (
            "",
            ".md",
            ".py",
            ".service",
            ".toml",
            ".yaml",
            ".openrc",
            ".openwrt",
        ):
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            assert not advice.search(text), f"{path.relative_to(ROOT)}: {advice.search(text)}"


def test_the_metadata_has_no_address_of_a_project_that_has_none():
    text = text_of(ROOT / "pyproject.toml")
    assert "[project.urls]" not in text and not re.search(r"^urls\b", text, re.MULTILINE)
