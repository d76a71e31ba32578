"""`voltlane init`: the profiles as files that are right, with which a server starts, and that agree with the docs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from kit.program import Program, environment

from voltlane import cli, config
from voltlane.config import PROFILES, SETTINGS
from voltlane.config.profiles import OFFERED

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OPERATIONS = Path(__file__).parent.parent.parent / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_a_file_that_loads_to_just_that(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "--profile", name]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"voltlane: wrote connserver.toml, profile {name}: ")
    loaded = config.load(Path("connserver.toml"))
    chosen = {key: choice.value for key, choice in PROFILES[name].choices.items()}
    assert {key: loaded.value(key) for key in SETTINGS} == {
        key: chosen.get(key, row.default) for key, row in SETTINGS.items()
    }


@pytest.mark.parametrize("name", PROFILES)
def test_each_setting_of_it_is_explained(name: str) -> None:
    text = config.profile_to_toml(name)
    plain = " ".join(line.lstrip("# ") for line in text.splitlines())
    for key, choice in PROFILES[name].choices.items():
        assert choice.why in plain and SETTINGS[key].help in plain, key
    assert len(max(text.splitlines(), key=len)) <= 120


@pytest.mark.parametrize("name", PROFILES)
def test_what_is_to_be_set_first_stands_in_it_and_is_right(name: str) -> None:
    """As comments, that have only to be taken away."""
    text = config.profile_to_toml(name)
    for key, offer in OFFERED.items():
        line = f"{key.partition('.')[2]} = "
        chosen = key in PROFILES[name].choices
        section = text.partition(f"[{key.partition('.')[0]}]\n")[2].partition("\n[")[0]
        assert len(re.findall(f"^{'' if chosen else '# '}{line}", section, re.MULTILINE)) == 1, key
        wanted = PROFILES[name].choices.get(key, offer).value
        Path("set.toml").write_text(text.replace(section, section.replace(f"\n# {line}", f"\n{line}")))
        assert config.load(Path("set.toml")).value(key) == wanted


def test_what_is_the_same_says_the_same_as_what() -> None:
    assert not [row.name for row in SETTINGS.values() if row.help.startswith("The same limit")]


@pytest.mark.parametrize("name", PROFILES)
def test_the_check_finds_nothing_and_a_server_starts_with_it(name: str, tmp_path: Path) -> None:
    assert cli.main(["init", "--profile", name]) == 0
    command = [sys.executable, "-m", "voltlane"]
    checked = subprocess.run(
        [*command, "--check-config"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "connserver.toml: ok\n", "")
    with Program("serve", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        program.wait_err(r"clients connect to 127\.0\.0\.1:\d+\n")
        program.process.terminate()
        assert program.finish() == 0
    assert "WARN" not in re.sub(".*no master at.*\n", "", program.err) and "ERROR" not in program.err


def test_without_a_profile_it_is_the_defaults_and_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init"]) == 0
    assert Path("connserver.toml").read_text() == config.to_toml(config.defaults())
    err = capsys.readouterr().err
    for name, profile in PROFILES.items():
        assert re.search(f"^voltlane:   {name} +{re.escape(profile.summary)}$", err, re.MULTILINE)


def test_what_is_there_stays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Path("connserver.toml").write_text("mine")
    assert cli.main(["init", "--profile", "game"]) == 2
    assert capsys.readouterr().err == (
        "voltlane: connserver.toml is there already; --force puts the new one in its place\n"
    )
    assert Path("connserver.toml").read_text() == "mine"
    Path("link.toml").symlink_to("nowhere")
    assert cli.main(["init", "--config", "link.toml"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["connserver.toml", "link.toml"]


def test_by_force_it_goes(tmp_path: Path) -> None:
    Path("other.toml").write_text("mine")
    assert cli.main(["init", "--profile", "game", "--config", "other.toml", "--force"]) == 0
    assert Path("other.toml").read_text() == config.profile_to_toml("game")
    assert [path.name for path in tmp_path.iterdir()] == ["other.toml"]


@pytest.mark.parametrize(
    "argv, code, message",
    [
        ("init --profile gamer", 2, "voltlane: --profile: unknown profile gamer; did you mean game?\n"),
        (
            "init --profile xyzzy",
            2,
            "voltlane: --profile: unknown profile xyzzy; there are game, iot, public, gateway\n",
        ),
        ("init --config no/such/x.toml", 1, "voltlane: cannot write no/such/x.toml: No such file or directory\n"),
    ],
)
def test_mistakes(argv: str, code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(argv.split()) == code
    assert capsys.readouterr().err == message
    assert list(tmp_path.iterdir()) == []


# ---- what docs/operations.md recommends


def recommended(sentence: str) -> dict[str, object]:
    """The first block of TOML behind a sentence."""
    behind = OPERATIONS.read_text(encoding="utf-8").partition(sentence)[2]
    block = re.search("^```toml\n(.*?)^```$", behind, re.MULTILINE | re.DOTALL)
    assert block, sentence
    return {
        f"{section}.{key}": value for section, table in tomllib.loads(block[1]).items() for key, value in table.items()
    }


@pytest.mark.parametrize(
    "name, sentence",
    [("gateway", "**A small host**"), ("public", "**For a server on the open internet**")],
)
def test_a_profile_has_what_is_recommended(name: str, sentence: str) -> None:
    wanted = recommended(sentence)
    assert len(wanted) > 5
    choices = PROFILES[name].choices
    assert {key: choices[key].value for key in wanted if key in choices} == wanted


def test_the_profiles_are_documented() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", text.partition("\n### Profiles\n")[2].partition("\n#")[0], re.M
    )
    assert [name for name, *_ in rows] == list(PROFILES)
    for name, summary, settings in rows:
        assert summary.lower().startswith(PROFILES[name].summary.split(",")[0].split(":")[0].lower())
        assert set(re.findall(r"`([a-z]+\.[a-z_]+)`", settings)) <= set(PROFILES[name].choices)
