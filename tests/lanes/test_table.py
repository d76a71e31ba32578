"""The lanes there are, in their table and in addresses: both name the same ones."""

from __future__ import annotations

import pytest
from kit.lanes.toy import LANE as TOY

from voltlane import address, config
from voltlane.address import FORMS, SCHEMES, UDP, Address, parse_address, parse_listener
from voltlane.core.protocols.credentials import PROTOCOL_NAMES
from voltlane.core.protocols.events import EVENTS
from voltlane.core.protocols.open import OPEN
from voltlane.core.protocols.table import PROTOCOLS
from voltlane.errors import ConfigError
from voltlane.lanes.coded import CodedConnection
from voltlane.lanes.connection import ClientConnection
from voltlane.lanes.entry.stage import Stage
from voltlane.lanes.framing import Framing
from voltlane.lanes.lane import Lane
from voltlane.lanes.prefix import PrefixConnection
from voltlane.lanes.table import CODED, DATA_PATHS, LANES, TCP, UNIX, lane_of

FRAMINGS = {lane.framing().name: lane.framing() for lane in LANES.values()}


def refusal(text: str, parse=parse_listener) -> str:
    """What is said of a text that is no address."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert FORMS in str(caught.value)
    return str(caught.value)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more lane."""
    monkeypatch.setattr(address, "SCHEMES", [*SCHEMES, "toy"])


# ---- the table


def test_each_scheme_has_a_lane_and_each_lane_a_scheme():
    assert list(LANES) == [*SCHEMES, UNIX.name] and len(set(SCHEMES)) == len(SCHEMES)
    assert all(lane.name == scheme for scheme, lane in LANES.items())
    assert LANES["tcp"] is TCP and TCP._replace(name="unix") == UNIX


@pytest.mark.parametrize(
    ("text", "name"),
    [("127.0.0.1:1", "tcp"), ("tcp://[::1]:1", "tcp"), ("unix:/a", "unix"), ("tcp://unix:/a", "unix"),
     ("tls://unix:/a", "tls"), ("ws://unix:/a", "ws"), ("wss://*:1", "wss")],
)  # fmt: skip
def test_an_address_has_its_lane(text: str, name: str):
    assert lane_of(parse_listener(text)) is LANES[name]


def test_what_is_no_stream_has_no_lane_of_streams():
    assert UDP not in SCHEMES and UDP not in LANES


@pytest.mark.parametrize("scheme", [*SCHEMES, UDP])
def test_a_scheme_can_be_written_as_one(scheme: str):
    assert scheme == scheme.lower() and parse_listener(f"{scheme}://[::1]:5").port == 5


@pytest.mark.parametrize("lane", [*LANES.values(), TOY], ids=lambda lane: lane.name)
def test_a_lane_makes_what_its_connections_need(lane: Lane):
    framing = lane.framing()
    assert isinstance(framing, Framing) and framing.name
    assert framing.plain or framing is not lane.framing(), "it keeps something, so each connection has its own"
    stages = [stage() for stage in lane.stages]
    assert all(isinstance(stage, Stage) and stage.waits_for for stage in stages)
    assert not {id(stage) for stage in stages} & {id(stage()) for stage in lane.stages}


def test_data_paths_are_of_framings_and_protocols_there_are():
    protocols = {protocol.name for protocol in [*PROTOCOLS.values(), OPEN]}
    for (framing, protocol), kind in DATA_PATHS.items():
        assert framing in FRAMINGS and protocol in protocols
        assert issubclass(kind, ClientConnection)
        # What does not encode is for a wire on which nothing is to be encoded.
        assert issubclass(kind, CodedConnection) or FRAMINGS[framing].plain
    assert DATA_PATHS[TCP.framing().name, "v2"] is PrefixConnection


def test_sessions_are_of_protocols_there_are():
    names = {protocol.name for protocol in [*PROTOCOLS.values(), OPEN]} | {EVENTS}
    assert set(PROTOCOL_NAMES.values()) == names == set(CODED)


def test_no_two_framings_have_one_name():
    kinds = {(lane.framing().name, type(lane.framing())) for lane in [*LANES.values(), TOY]}
    assert len({name for name, _ in kinds}) == len(kinds)


# ---- addresses of listeners


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.0.0.1:42000", "127.0.0.1:42000"),
        ("tcp://127.0.0.1:42000", "127.0.0.1:42000"),
        ("TCP://127.0.0.1:42000", "127.0.0.1:42000"),
        ("tCp://host.name:0", "host.name:0"),
        ("tcp://*:42000", "*:42000"),
        ("tcp://::1:42000", "[::1]:42000"),
        ("tcp://[2001:DB8:0::1]:1", "[2001:db8::1]:1"),
        ("unix:/run/voltlane.sock", "unix:/run/voltlane.sock"),
        ("tcp://unix:/run/voltlane.sock", "unix:/run/voltlane.sock"),
        ("unix:odd://path", "unix:odd://path"),
    ],
)
def test_tcp_is_meant_whether_it_is_named_or_not(text: str, canonical: str):
    found = parse_listener(text)
    assert found.scheme == "" and str(found) == canonical
    assert found == parse_address(canonical) == parse_listener(canonical)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toy://127.0.0.1:42000", Address("tcp", "127.0.0.1", 42000, "", "toy")),
        ("TOY://127.0.0.1:0", Address("tcp", "127.0.0.1", 0, "", "toy")),
        ("toy://*:1", Address("tcp", "", 1, "", "toy")),
        ("toy://[::1]:1", Address("tcp", "::1", 1, "", "toy")),
        ("toy://unix:/run/toy.sock", Address("unix", "", 0, "/run/toy.sock", "toy")),
        ("toy://unix:/run/a://b", Address("unix", "", 0, "/run/a://b", "toy")),
    ],
)
def test_another_lane_stands_in_the_canonical_form(toy: None, text: str, expected: Address):
    assert parse_listener(text) == expected
    assert str(expected) == text.replace("TOY", "toy") and parse_listener(str(expected)) == expected


def test_a_lane_is_part_of_what_an_address_is(toy: None):
    """So a changed lane is a changed address when the configuration is read again."""
    assert parse_listener("toy://*:1") != parse_listener("tcp://*:1") == parse_listener("*:1")


def test_settings_know_lanes(toy: None):
    def addresses(*texts: str) -> list[str]:
        return list(config.load(None, {}, {"listener.address": ",".join(texts)}).listener.address)

    assert addresses("TCP://127.0.0.1:1", "toy://127.0.0.1:2") == ["127.0.0.1:1", "toy://127.0.0.1:2"]
    with pytest.raises(ConfigError, match=r"a scheme has its place in listener.address only"):
        config.load(None, {}, {"master.address": "toy://127.0.0.1:1"})


# ---- what is none


def test_an_unknown_lane_is_told_what_there_is(toy: None):
    message = refusal("http://127.0.0.1:80")
    assert (
        "'http://127.0.0.1:80' is no address: there is no lane 'http'; there are tcp://" in message
        and "toy://" in message
    )
    assert len(refusal("x" * 5000 + "://127.0.0.1:80")) < 600


@pytest.mark.parametrize("scheme", [*SCHEMES, UDP, "toy", "http", "TCP"])
def test_a_scheme_has_its_place(toy: None, scheme: str):
    """Not in the master's address, nor wherever else one connects to."""
    assert "a scheme has its place in listener.address only" in refusal(f"{scheme}://127.0.0.1:1", parse_address)
    assert "a scheme has its place in listener.address only" in refusal(f"{scheme}://unix:/path", parse_address)


@pytest.mark.parametrize(
    "text", ["tcp://", "tcp://127.0.0.1", "tcp://:1", "tcp://tcp://127.0.0.1:1", "tcp:/127.0.0.1:1", "://127.0.0.1:1"]
)
def test_what_is_behind_a_scheme_must_be_an_address(text: str):
    refusal(text)
