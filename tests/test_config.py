from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from voltlane import config
from voltlane.config import (
    SETTINGS,
    Admin,
    Clients,
    Cluster,
    Config,
    General,
    Limits,
    Listener,
    Master,
    Quality,
    Setting,
    Socket,
    Tls,
    Udp,
    Web,
)
from voltlane.config.forms import NETWORK
from voltlane.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "connserver.toml"
    path.write_text(text, encoding="utf-8")
    return path


def as_text(value: object) -> str:
    """A value as one writes it into an environment variable."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def refusal(path: Path | None = None, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(path, environ or {}, {name.replace("__", "."): value for name, value in flags.items()})
    return str(caught.value)


class TestDefaults:
    def test_are_the_documented_ones(self) -> None:
        assert config.defaults() == Config(
            General(
                log_level="Info",
                log_format="text",
                log_lines_per_minute=600,
                shutdown_secs=5.0,
                stay=False,
                state_dir="",
                state_sync_secs=1.0,
            ),
            Listener(
                address=("127.0.0.1:42000",), unix_mode="", proxy_protocol="off", proxy_networks=(), proxy_secs=3.0
            ),
            Master(
                address=("127.0.0.1:42001",),
                channel_capacity=32768,
                outbox_bytes=4194304,
                reconnect_min_secs=0.1,
                reconnect_max_secs=5.0,
                keepalive_secs=30.0,
                stall_secs=0.0,
                give_up_secs=0.0,
            ),
            Clients(
                channel_capacity=8192,
                outbox_soft_bytes=0,
                slow_secs=10.0,
                outbox_bytes=8388608,
                overflow_policy="disconnect",
                write_stall_secs=30.0,
                handshake_secs=5.0,
                packet_size_limit=8388599,
                packet_rate=0.0,
                byte_rate=0.0,
                rate_burst_secs=1.0,
                rate_policy="throttle",
                idle_secs=0.0,
                stale_timeout_secs=300.0,
                max_stale_clients=65535,
                stale_reap_interval_secs=15.0,
                missed_packets_buffer_size=8192,
                missed_packets_buffer_bytes=8388608,
                keepalive_secs=15.0,
                user_timeout_secs=30.0,
            ),
            Tls(certificate=(), key=(), minimum_version="1.2", alpn=(), client_certificates="off", client_ca=""),
            Socket(nodelay=True, ttl=0, linger_secs=-1, receive_buffer=0, send_buffer=0, unsent_bytes=131072),
            Admin(address="", token=""),
            Limits(
                connections=0,
                handshakes=0,
                address_connections=0,
                address_rate=0.0,
                address_burst=20,
                address_failures=0,
                flap_count=0,
                flap_secs=60.0,
                ban_secs=300.0,
                ipv4_prefix=32,
                ipv6_prefix=64,
                allow=(),
                deny=(),
                table_size=65536,
                memory_bytes=0,
                accept_rate=0.0,
            ),
            Quality(sample_secs=5.0),
            cluster=Cluster(
                url="",
                prefix="voltlane:",
                ca_file="",
                secret="",
                secret_file="",
                lease_secs=15.0,
                give_up_secs=5.0,
                retained_bytes=1 << 20,
            ),
        )

    def test_no_source_at_all_gives_them(self) -> None:
        assert config.load() == config.load(None, {}, {}) == config.defaults()

    def test_the_shipped_file_is_what_the_table_generates(self) -> None:
        assert (ROOT / "connserver.toml").read_text(encoding="utf-8") == config.to_toml(config.defaults())

    def test_are_allowed_by_their_own_rules(self) -> None:
        for row in SETTINGS.values():
            assert row.check(row.default) == row.default
            assert type(row.check(row.default)) is type(row.default)

    def test_every_setting_says_what_it_is_for(self) -> None:
        for row in SETTINGS.values():
            assert row.help.endswith(".")
            counts = not row.form and not isinstance(row.default, bool)
            assert bool(row.unit) == (counts and row.name != "general.node"), "a number has a unit; a name's is none"

    def test_are_frozen(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.defaults().general.log_level = "Off"  # type: ignore[misc]


class TestWrittenFile:
    def test_reads_back_equal(self, tmp_path: Path) -> None:
        path = written(tmp_path, config.to_toml(config.defaults()))
        assert config.load(path) == config.defaults()

    def test_reads_back_equal_with_nothing_at_its_default(self, tmp_path: Path) -> None:
        changed = Config(
            General(
                log_level="trace",
                log_format="json",
                log_lines_per_minute=7,
                shutdown_secs=2.5,
                node=7,
                workers=3,
                stay=True,
                state_dir="/var/lib/a b",
                state_sync_secs=0.5,
            ),
            Listener(
                ('unix:/tmp/a "quoted" \\ path\té', "[::]:7"), "660", "required", ("10.0.0.0/8", "::1/128"), True, 1.5
            ),
            Master(("[::1]:1", "h:2"), 1, 2, 0.25, 7.5, 2.0, 9.0, 3.0, True),
            Clients(
                1,
                2,
                0.5,
                3,
                "block",
                0.0,
                1.5,
                4,
                5.0,
                6.0,
                7.0,
                "disconnect",
                8.0,
                0.0,
                0,
                0.05,
                0,
                1,
                "drop-oldest",
                "never",
                4096,
                0.25,
                0.0,
                0.0,
            ),
            Tls(("/a b.pem", "c"), ("d", "e"), "1.3", ("h2", "voltlane"), "optional", "/ca.pem"),
            Socket(False, 1, 0, 4096, 8192, 2048),
            Admin("127.0.0.1:1", "a-token-of-16-or-more"),
            Limits(1, 2, 3, 0.5, 5, 6, 7, 8.0, 9.5, 24, 56, ("10.0.0.0/8", "::/0"), ("10.1.0.0/16",), 4, 1 << 30, 9.0),
            Quality(0.0),
            Web(("https://a.example",), "chat", 7.5, 77, "forwarded"),
            Udp("open", 999, True, "drop", 7.0, "a.example:7", 7.5, 8.5, 9, 7.0, True, 1.5, 7),
        )
        clustered = dataclasses.replace(  # which none with workers, or a state directory, can be
            config.defaults(),
            cluster=Cluster("rediss://u:p@a.example:1/2", "other:", "/ca.pem", "s" * 32, "", 4.0, 0.5, 77),
        )
        for row in SETTINGS.values():
            written_one = clustered if row.section == "cluster" else changed
            # Only one of the two may be set.
            assert row.name == "cluster.secret_file" or (
                getattr(getattr(written_one, row.section), row.key) != row.default
            )
        for one in (changed, clustered):
            assert config.load(written(tmp_path, config.to_toml(one))) == one

    def test_tells_of_every_key_what_it_is_and_how_to_override_it(self) -> None:
        text = config.to_toml(config.defaults())
        for row in SETTINGS.values():
            assert f"\n{row.key} = " in text
            assert row.env in text
            assert row.allowed in " ".join(text.replace("#", "").split())
        assert max(map(len, text.splitlines())) <= 120


class TestFile:
    def test_may_hold_any_part_of_the_keys(self, tmp_path: Path) -> None:
        path = written(tmp_path, '[clients]\nslow_secs = 3\n[general]\nlog_level = "WARN"\n')
        loaded = config.load(path)
        assert loaded.clients == Clients(slow_secs=3.0)
        assert isinstance(loaded.clients.slow_secs, float)
        assert loaded.general == General(log_level="Warn")
        assert loaded.master == Master()

    @pytest.mark.parametrize("text", ["", "\n# nothing\n", "[clients]\n", "\ufeff[clients]\nslow_secs = 10\n"])
    def test_may_be_as_good_as_empty(self, tmp_path: Path, text: str) -> None:
        assert config.load(written(tmp_path, text)) == config.defaults()

    @pytest.mark.parametrize(
        ("text", "line", "what"),
        [
            ("[clients]\n\nslow_secs = 'ten'\n", 3, "clients.slow_secs: 'ten' was given, a number of seconds"),
            ("[clients]\nslow_secs = '10'\n", 2, "clients.slow_secs: '10' was given, a number of seconds"),
            ("[clients]\nslow_secs = -1\n", 2, "-1 was given, a number of seconds, at least 0, at most 31536000"),
            ("[clients]\nslow_secs = nan\n", 2, "nan was given"),
            ("[clients]\nslow_secs = inf\n", 2, "inf was given"),
            ("[clients]\nslow_secs = true\n", 2, "true was given"),
            ("[clients]\nslow_secs = [1]\n", 2, "[1] was given"),
            ("[clients]\nslow_secs = 1979-05-27\n", 2, "datetime.date(1979, 5, 27) was given"),
            ("[clients]\nslow_secs.x = 1\n", 2, "{'x': 1} was given"),
            ("[clients]\nchannel_capacity = 0\n", 2, "0 was given, a whole number of packets, at least 1, at most 4"),
            ("[clients]\nchannel_capacity = 1.0\n", 2, "1.0 was given, a whole number of packets"),
            ("[clients]\nchannel_capacity = false\n", 2, "false was given, a whole number of packets"),
            ("[clients]\npacket_size_limit = 8388600\n", 2, "8388600 was given, a whole number of bytes, at least 1"),
            ("[clients]\noverflow_policy = 'drop'\n", 2, "'drop' was given, one of disconnect, block is needed"),
            ("[clients]\noverflow_policy = 1\n", 2, "1 was given, one of disconnect, block is needed"),
            ("[general]\nlog_level = 'loud'\n", 2, "'loud' was given, one of Off, Error, Warn, Info, Debug, Trace"),
            ("[general]\nlog_level = '" + "x" * 500 + "'\n", 2, "xxx… was given"),
            ("[listener]\nunix_mode = '0680'\n", 2, "'0680' was given, the mode of a file in octal digits"),
            ("[listener]\nunix_mode = 0o660\n", 2, "432 was given, the mode of a file in octal digits"),
            ("[listener]\naddress = 42000\n", 2, "listener.address: 42000 was given, host:port, [IPv6]:port, *:port"),
            ("[listener]\naddress = '127.0.0.1'\n", 2, "listener.address: '127.0.0.1' is no address: it has no port"),
            ("[master]\naddress = '*:42001'\n", 2, "one cannot connect to every interface (*)"),
            ("[master]\naddress = 'localhost:0'\n", 2, "one cannot connect to port 0"),
            ("# one\n[clients] # two\n  'slow_secs'=-1\n", 3, "clients.slow_secs: -1"),
            ("[general]\n\nclients.slow_secs = 1\n", 3, "unknown key clients in [general]"),
            ("clients.channel_capacity = 5\nclients.slow_secs = -1\n", 2, "clients.slow_secs: -1"),
            ("\nclients = {slow_secs = -1}\n", 2, "clients.slow_secs: -1"),
            ("# slow_secs = 1\n[ clients ]\n#slow_secs = 1\nslow_secs = -1\n", 4, "clients.slow_secs: -1"),
            ("[client]\nslow_secs = 1\n", 1, "unknown section [client]; did you mean [clients]?"),
            ("\n[LISTENER]\n", 2, "unknown section [LISTENER]; did you mean [listener]?"),
            ("[zzz]\n", 1, "unknown section [zzz]; there are [general], [listener], [master], [clients], "),
            ("[[clients]]\nslow_secs = 1\n", 1, "clients is a section: write [clients]"),
            ("clients = 1\n", 1, "clients is a section: write [clients]"),
            ("log_level = 'Info'\n", 1, "log_level stands outside its section; write it below [general]"),
            ("zzz = 1\n", 1, "unknown key zzz outside any section; there are [general], [listener], [master], "),
            ("[general]\nnode = 256\n", 2, "256 was given, a whole number, at least 0, at most 255 is needed"),
            ("slow_sec = 1\n", 1, "unknown key slow_sec outside any section; did you mean slow_secs?"),
            ("[clients]\nslow_sec = 1\n", 2, "unknown key slow_sec in [clients]; did you mean slow_secs?"),
            ("[clients]\nstale_timeout = 1\n", 2, "did you mean stale_timeout_secs?"),
            ("[clients]\nlog_level = 'Info'\n", 2, "unknown key log_level in [clients]; it belongs into [general]"),
            ("[listener]\nzzz = 1\n", 2, "unknown key zzz in [listener]; there are address, unix_mode"),
            ("[listener]\nproxy_protocol = 'required'\n", 2, "_protocol = required needs listener.proxy_networks"),
            ("[listener]\nproxy_tls = true\n", 2, "listener.proxy_tls needs proxies that say who came over TLS"),
            ("[limits]\nallow = ['10.0.0.1/8']\n", 2, "'10.0.0.1/8' was given, 10.0.0.1/8 has host bits set"),
            ("[limits]\nipv4_prefix = 33\n", 2, "33 was given, a whole number of bits, at least 1, at most 32"),
            ("[clients]\nslow_secs =\n", 2, "not valid TOML: Invalid value"),
            ("[clients\n", 1, "not valid TOML"),
            ("[clients]\nslow_secs = 1\nslow_secs = 2\n", 3, "not valid TOML: Cannot overwrite a value"),
            ("[master]\nreconnect_min_secs = 6\n", 2, "_min_secs = 6 is more than master.reconnect_max_secs = 5 (def"),
            ("[limits]\nmemory_bytes = 1000\n", 2, "outbox_bytes = 4194304 is more than limits.memory_bytes = 1000"),
            ("[master]\nreconnect_max_secs = 0.05\n", 2, "_secs = 0.1 is more than master.reconnect_max_secs = 0.05"),
        ],
    )  # fmt: skip
    def test_mistake_is_named_with_its_line(self, tmp_path: Path, text: str, line: int, what: str) -> None:
        path = written(tmp_path, text)
        message = refusal(path)
        assert message.startswith(f"{path}:{line}: "), message
        assert what in message
        assert len(message) < len(str(path)) + 400

    def test_both_places_of_a_contradiction_are_named(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[master]\nreconnect_max_secs = 2\n")
        message = refusal(path, {"VOLTLANE_MASTER_RECONNECT_MIN_SECS": "3"})
        assert message.startswith(f"VOLTLANE_MASTER_RECONNECT_MIN_SECS, {path}:2: ")
        assert "(default)" not in message

    def test_that_is_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "none.toml"
        assert refusal(path) == f"{path}: cannot be read: No such file or directory"

    def test_that_is_a_directory(self, tmp_path: Path) -> None:
        assert refusal(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"

    def test_that_is_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        """Nor is one that could be read now: at a reload it would be empty, and all settings the defaults."""
        os.mkfifo(tmp_path / "file.toml")
        assert refusal(tmp_path / "file.toml").startswith(f"{tmp_path}/file.toml: cannot be read: it is a pipe")
        reading, writing = os.pipe()
        assert "it is a pipe" in refusal(Path(f"/dev/fd/{reading}"))
        os.close(reading)
        os.close(writing)

    def test_that_is_not_text(self, tmp_path: Path) -> None:
        path = tmp_path / "connserver.toml"
        path.write_bytes(b"[clients]\n# caf\xe9\n")
        assert refusal(path) == f"{path}:2: not UTF-8 text, which TOML has to be"

    def test_that_is_brackets_in_brackets(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[clients]\nslow_secs = " + "[" * 5000 + "]" * 5000)
        assert refusal(path).startswith(f"{path}: not valid TOML: ") or "was given, a number of" in refusal(path)
        path = written(tmp_path, "[clients]\nslow_secs" + ".x" * 5000 + " = 1\n")
        assert "slow_secs" in refusal(path) or "not valid TOML" in refusal(path)

    def test_that_has_no_end(self, tmp_path: Path) -> None:
        assert refusal(Path("/dev/zero")) == "/dev/zero: cannot be read: it is larger than 1048576 bytes"
        large = "#" * ((1 << 20) - len("[clients]\nslow_secs = 3\n\n"))
        path = written(tmp_path, f"[clients]\nslow_secs = 3\n{large}\n")
        assert config.load(path).clients.slow_secs == 3
        path.write_text(path.read_text() + "#")
        assert "larger than 1048576 bytes" in refusal(path)

    def test_whose_name_has_a_nul(self) -> None:
        assert refusal(Path("a\0b")) == "'a\\x00b': cannot be read: there is a NUL in the name"

    @pytest.mark.parametrize("path", ["a\\u0000b", "x" * 4096])
    def test_with_a_path_that_no_system_takes(self, tmp_path: Path, path: str) -> None:
        message = refusal(written(tmp_path, f'[general]\nstate_dir = "{path}"\n'))
        assert "a path of at most 4095 bytes and without NUL" in message

    @pytest.mark.parametrize("network", ["fe80::1%eth0", "10.0.0.010", "010.0.0.0/8", "10.0.0.0/\u0668", "x" * 9999])
    def test_with_a_network_that_is_none(self, tmp_path: Path, network: str) -> None:
        message = refusal(written(tmp_path, f'[limits]\nallow = ["{network}"]\n'))
        assert "an IP address or a network like" in message and len(message) < len(str(tmp_path)) + 400

    def test_with_a_number_beyond_reason(self, tmp_path: Path) -> None:
        assert "slow_secs" in refusal(written(tmp_path, "[clients]\nslow_secs = " + "9" * 400))
        assert "connserver.toml" in refusal(written(tmp_path, "[clients]\nslow_secs = " + "9" * 5000))

    def test_an_address_that_is_given_twice(self, tmp_path: Path) -> None:
        path = written(tmp_path, '[listener]\naddress = ["127.0.0.1:7", "unix:/a", "tcp://127.0.0.1:7"]\n')
        assert refusal(path) == f"{path}:2: 127.0.0.1:7 is listened on twice"
        assert refusal(listener__address="unix:/a,unix:/a") == "--listen: unix:/a is listened on twice"
        config.load(flags={"listener.address": "127.0.0.1:0,127.0.0.1:0,127.0.0.1:7,127.0.0.2:7,unix:/a,unix:/b"})
        path = written(tmp_path, '[listener]\naddress = "127.0.0.1:7"\n[admin]\naddress = "127.0.0.1:7"\n')
        assert refusal(path) == f"{path}:2, {path}:4: 127.0.0.1:7 is listened on twice"

    @pytest.mark.parametrize(
        "listener",
        [
            "proxy_networks = ['10.0.0.0/8']\n",
            "proxy_networks = '10.0.0.1'\naddress = ['unix:/x', '127.0.0.1:1']\n",
            "address = ['unix:/x', 'unix:/y']\n",
        ],
    )
    def test_proxies_need_networks_where_others_can_connect(self, tmp_path: Path, listener: str) -> None:
        path = written(tmp_path, f"[listener]\nproxy_protocol = 'required'\n{listener}")
        assert config.load(path).listener.proxy_protocol == "required"
        path = written(tmp_path, "[listener]\nproxy_protocol = 'required'\naddress = ['unix:/x', '*:1']\n")
        assert f"{path}:2: listener.proxy_protocol = required needs" in refusal(path)

    @pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
    def test_and_so_do_those_that_say_it_in_requests(self, tmp_path: Path, header: str) -> None:
        named = f"[web]\nforwarded = '{header}'\n[listener]\nproxy_tls = true\n"
        for listener in (
            "",
            "address = ['ws://unix:/x', '*:1']\n",
            "address = 'ws://*:1'\nproxy_networks = '10.0.0.1'\n",
        ):
            assert config.load(written(tmp_path, named + listener)).web.forwarded == header
        message = refusal(written(tmp_path, f"{named}address = ['*:1', 'ws://*:2']\n"))
        assert (
            f"web.forwarded = {header} needs listener.proxy_networks: else whoever can connect to ws://*:2" in message
        )


class TestEnvironment:
    def test_has_a_variable_for_every_setting(self) -> None:
        environ = {row.full_env: as_text(row.default) for row in SETTINGS.values()}
        assert config.load(None, environ) == config.defaults()
        for name in ("VOLTLANE_LISTENER_ADDRESS", "VOLTLANE_CLIENTS_STALE_TIMEOUT_SECS", "VOLTLANE_GENERAL_LOG_LEVEL"):
            assert name in environ

    @pytest.mark.parametrize(("text", "value"), [("7", 7.0), (" 7.5 ", 7.5), ("007", 7.0), ("31536000", 31536000.0)])
    def test_numbers_are_text_there(self, text: str, value: float) -> None:
        assert config.load(None, {"VOLTLANE_CLIENTS_SLOW_SECS": text}).clients.slow_secs == value

    def test_the_log_level_has_a_short_name_as_well(self) -> None:
        assert config.load(None, {"VOLTLANE_LOG_LEVEL": "debug"}).general.log_level == "Debug"
        both = {"VOLTLANE_GENERAL_LOG_LEVEL": "error", "VOLTLANE_LOG_LEVEL": "debug"}
        assert config.load(None, both).general.log_level == "Error"

    def test_an_empty_variable_is_none(self) -> None:
        assert config.load(None, {"VOLTLANE_LOG_LEVEL": "", "VOLTLANE_MASTER_ADDRESS": " "}) == config.defaults()

    @pytest.mark.parametrize(
        ("variable", "text", "what"),
        [
            ("VOLTLANE_LOG_LEVEL", "loud", "VOLTLANE_LOG_LEVEL: general.log_level: 'loud' was given, one of Off"),
            ("VOLTLANE_CLIENTS_SLOW_SECS", "ten", "VOLTLANE_CLIENTS_SLOW_SECS: clients.slow_secs: 'ten' was given"),
            ("VOLTLANE_CLIENTS_SLOW_SECS", "nan", "'nan' was given, a number of seconds"),
            ("VOLTLANE_CLIENTS_SLOW_SECS", "1e1", "'1e1' was given, a number of seconds"),
            ("VOLTLANE_CLIENTS_SLOW_SECS", "1e999", "'1e999' was given, a number of seconds"),
            ("VOLTLANE_CLIENTS_SLOW_SECS", "1_000", "'1_000' was given, a number of seconds"),
            ("VOLTLANE_CLIENTS_SLOW_SECS", "\u0661\u0662", "'\u0661\u0662' was given, a number of seconds"),
            ("VOLTLANE_CLIENTS_SLOW_SECS", "31536001", "31536001 was given, a number of seconds, at least 0, at most"),
            ("VOLTLANE_CLIENTS_CHANNEL_CAPACITY", "+5", "'+5' was given, a whole number of packets"),
            ("VOLTLANE_CLIENTS_CHANNEL_CAPACITY", "0x10", "'0x10' was given, a whole number of packets"),
            ("VOLTLANE_CLIENTS_CHANNEL_CAPACITY", "10 000", "'10 000' was given, a whole number of packets"),
            ("VOLTLANE_SOCKET_TTL", "-1", "-1 was given, a whole number of hops, at least 0, at most 255 is needed"),
            ("VOLTLANE_LISTENER_ADDRESS", "tcp://", "listener.address: 'tcp://' is no address: it has neither host"),
            ("VOLTLANE_CLIENTS_CHANNEL_CAPACITY", "1.5", "1.5 was given, a whole number of packets"),
            ("VOLTLANE_CLIENTS_CHANNEL_CAPACITY", "9" * 5000, "was given, a whole number of packets"),
            ("VOLTLANE_MASTER_ADDRESS", "nowhere", "VOLTLANE_MASTER_ADDRESS: master.address: 'nowhere' is no address"),
            ("VOLTLANE_MASTER_ADRESS", "x", "variable VOLTLANE_MASTER_ADRESS; did you mean VOLTLANE_MASTER_ADDRESS?"),
            ("VOLTLANE_LOGLEVEL", "x", "did you mean VOLTLANE_LOG_LEVEL?"),
            ("VOLTLANE_STALE_TIMEOUT_SECS", "1", "did you mean VOLTLANE_CLIENTS_STALE_TIMEOUT_SECS?"),
            ("VOLTLANE_MASTER_PORT", "42001", "unknown environment variable VOLTLANE_MASTER_PORT"),
            ("VOLTLANE_XYZZY", "1", "unknown environment variable VOLTLANE_XYZZY; each is VOLTLANE_<SECTION>_<KEY>"),
        ],
    )
    def test_mistake_names_the_variable(self, variable: str, text: str, what: str) -> None:
        assert what in refusal(None, {variable: text})

    def test_what_is_not_ours_is_left_alone(self) -> None:
        environ = {"PATH": "/bin", "VOLTLANE_PURE_PYTHON": "1", "voltlane_x": "1"}
        kubernetes = {
            "VOLTLANE_SERVICE_HOST": "10.0.0.1",
            "VOLTLANE_SERVICE_PORT": "42000",
            "VOLTLANE_SERVICE_PORT_CLIENTS": "42000",
            "VOLTLANE_PORT": "tcp://10.0.0.1:42000",
            "VOLTLANE_PORT_42000_TCP": "tcp://10.0.0.1:42000",
            "VOLTLANE_PORT_42000_TCP_ADDR": "10.0.0.1",
            "VOLTLANE_MASTER_PORT": "tcp://10.0.0.2:42001",
            "VOLTLANE_MASTER_SERVICE_HOST": "10.0.0.2",
        }
        assert config.load(None, {**environ, **kubernetes}) == config.defaults()


class TestFlags:
    def test_take_text_and_values(self) -> None:
        assert config.load(flags={"clients.slow_secs": "3"}).clients.slow_secs == 3.0
        assert config.load(flags={"clients.slow_secs": 3}).clients.slow_secs == 3.0
        assert config.load(flags={"listener.address": "::1:0"}).listener.address == ("[::1]:0",)

    def test_mistake_names_the_flag(self) -> None:
        assert refusal(listener__address="x").startswith("--listen: listener.address: 'x' is no address")
        assert refusal(general__log_level="x").startswith("--log-level: general.log_level: 'x' was given")
        assert "clients.slow_secs: -1 was given" in refusal(clients__slow_secs="-1")

    def test_unknown_setting(self) -> None:
        assert "unknown setting clients.slow; did you mean clients.slow_secs?" in refusal(clients__slow=1)


def test_flags_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "[clients]\nslow_secs = 1\nhandshake_secs = 1\nkeepalive_secs = 1\n")
    environ = {"VOLTLANE_CLIENTS_SLOW_SECS": "2", "VOLTLANE_CLIENTS_HANDSHAKE_SECS": "2"}
    clients = config.load(path, environ, {"clients.slow_secs": "3"}).clients
    assert clients == Clients(slow_secs=3.0, handshake_secs=2.0, keepalive_secs=1.0)


def test_a_wrong_value_is_refused_even_when_a_stronger_source_overrides_it(tmp_path: Path) -> None:
    path = written(tmp_path, "[clients]\nslow_secs = -1\n")
    assert f"{path}:2" in refusal(path, {}, clients__slow_secs=3)


class TestMadeInCode:
    def test_values_are_put_in_canonical_form(self) -> None:
        assert General(log_level="OFF").log_level == "Off"
        assert Clients(overflow_policy="Block").overflow_policy == "block"
        assert Listener(address="::1:5").address == ("[::1]:5",)  # type: ignore[arg-type]
        assert isinstance(Clients(slow_secs=3).slow_secs, float)

    def test_wrong_values_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"^clients\.slow_secs: -1 was given"):
            Clients(slow_secs=-1)
        with pytest.raises(ConfigError, match=r"^listener\.address: 'x' is no address"):
            Listener(address=("x",))
        with pytest.raises(ConfigError, match=r"^master\.reconnect_min_secs = 9 is more than"):
            Config(master=Master(reconnect_min_secs=9))


class TestKindsOfSettings:
    NETWORKS = Setting("limits", "deny", (), "", None, None, NETWORK, "", "Who may not come.")
    SWITCH = Setting("clients", "nodelay", True, "", None, None, None, "", "Whether.")

    def test_every_number_has_bounds_that_hold(self) -> None:
        for row in SETTINGS.values():
            if not row.unit:
                continue
            assert row.at_least is not None and row.at_most is not None, row.name
            assert row.check(int(row.at_most)) == row.at_most <= 2**53
            for beyond in (row.at_most + 1, row.at_least - 1, 10**400, -(10**400)):
                with pytest.raises(ConfigError, match="was given"):
                    row.check(int(beyond))

    def test_a_list_of_which_there_has_to_be_one(self) -> None:
        assert config.load(flags={"master.address": "a:1, b:2"}).master.address == ("a:1", "b:2")
        assert Master(address=["a:1", "b:2"]).address == ("a:1", "b:2")  # type: ignore[arg-type]
        for nothing in ([], " , "):
            assert "--listen: listener.address: " in refusal(listener__address=nothing)
        assert "several in a list is needed" in refusal(master__address=[])

    def test_a_list_may_be_one_text_or_several(self) -> None:
        assert self.NETWORKS.check("10.0.0.0/8") == ("10.0.0.0/8",)
        assert self.NETWORKS.check(["10.0.0.0/8", "::1"]) == ("10.0.0.0/8", "::1/128")
        assert self.NETWORKS.check_text(" 10.0.0.0/8, ::1 ,") == ("10.0.0.0/8", "::1/128")
        assert self.NETWORKS.check_text("") == self.NETWORKS.check([]) == ()

    @pytest.mark.parametrize("value", [3, ["10.0.0.0/8", 3], ["10.0.0.1/8"], "ten", {"a": 1}, True])
    def test_what_is_no_list_of_networks_is_refused(self, value: object) -> None:
        with pytest.raises(ConfigError, match=r"limits\.deny: .* was given, .*an IP address or a network"):
            self.NETWORKS.check(value)

    @pytest.mark.parametrize(("text", "value"), [("true", True), ("On", True), ("0", False), ("no", False)])
    def test_a_switch(self, text: str, value: bool) -> None:
        assert self.SWITCH.check_text(text) is value
        assert self.SWITCH.check(value) is value

    @pytest.mark.parametrize("value", [1, 0, "true", 1.0, None, []])
    def test_what_is_no_switch_is_refused(self, value: object) -> None:
        with pytest.raises(ConfigError, match=r"clients\.nodelay: .* was given, true or false is needed"):
            self.SWITCH.check(value)

    def test_defaults_as_one_would_write_them(self) -> None:
        assert self.NETWORKS.default_text == "none"
        assert self.SWITCH.default_text == "true"
        assert self.NETWORKS._replace(default=("a", "b")).default_text == "a, b"


class TestAdmin:
    TOKEN = "0123456789abcdef"

    @pytest.mark.parametrize("address", ["", "127.0.0.1:1", "[::1]:1", "localhost:1", "127.9.9.9:1", "unix:/run/x"])
    def test_needs_no_token_where_only_this_machine_can_reach_it(self, address: str) -> None:
        assert config.load(flags={"admin.address": address}).admin == Admin(address=address)

    @pytest.mark.parametrize("address", ["*:1", "0.0.0.0:1", "[::]:1", "192.0.2.1:1", "this-host.example:1"])
    def test_is_open_to_others_only_with_a_token(self, address: str) -> None:
        message = refusal(None, {"VOLTLANE_ADMIN_ADDRESS": address})
        assert message.startswith("VOLTLANE_ADMIN_ADDRESS: admin.address = ") and "admin.token is needed" in message
        assert config.load(flags={"admin.address": address, "admin.token": self.TOKEN}).admin.token == self.TOKEN

    def test_a_token_that_is_no_text_is_not_repeated(self, tmp_path: Path) -> None:
        for token in ("1234567890123456", '["1234567890123456"]'):
            assert "1234567890123456" not in refusal(written(tmp_path, f"[admin]\ntoken = {token}\n"))

    @pytest.mark.parametrize("token", ["short", "with blanks in between", "x" * 257, "ümlaut-ümlaut-ümlaut"])
    def test_a_weak_token_is_refused_and_not_repeated(self, token: str) -> None:
        message = refusal(None, {"VOLTLANE_ADMIN_TOKEN": token})
        assert "16 to 256" in message and token not in message


class TestAllMistakes:
    """Whoever has to mend them hears of all of them at once."""

    def test_of_every_source_are_told(self, tmp_path: Path) -> None:
        path = written(
            tmp_path,
            "[clients]\nslow_secs = -1\nslow_sec = 1\n[client]\n[limits]\ndeny = ['x', '10.0.0.0/8', 'y']\n[quality]\n"
            "sample_secs = 'often'\n[master]\nreconnect_min_secs = 6\n",
        )
        environ = {"VOLTLANE_CLIENTS_IDLE_SECS": "x", "VOLTLANE_X": "1", "VOLTLANE_ADMIN_ADDRESS": "*:1"}
        with pytest.raises(ConfigError) as caught:
            config.load(path, environ, {"listener.address": "tcp://", "general.loudness": 1})
        expected = (
            f"{path}:2: clients.slow_secs: -1 was given",
            f"{path}:3: unknown key slow_sec in [clients]; did you mean slow_secs?",
            f"{path}:4: unknown section [client]; did you mean [clients]?",
            f"{path}:6: limits.deny: 'x' was given",
            f"{path}:6: limits.deny: 'y' was given",
            f"{path}:8: quality.sample_secs: 'often' was given",
            "unknown environment variable VOLTLANE_X",
            "VOLTLANE_CLIENTS_IDLE_SECS: clients.idle_secs: 'x' was given",
            "--listen: listener.address: 'tcp://' is no address",
            "unknown setting general.loudness",
            f"{path}:10: master.reconnect_min_secs = 6 is more than",
            "VOLTLANE_ADMIN_ADDRESS: admin.address = *:1 can be reached from elsewhere",
        )
        assert len(caught.value.mistakes) == len(expected)
        for mistake, beginning in zip(caught.value.mistakes, expected):
            assert mistake.startswith(beginning)

    def test_a_rule_is_not_broken_by_what_is_a_mistake_already(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[admin]\naddress = '*:1'\ntoken = 'short'\n")
        assert refusal(path).startswith(f"{path}:3: admin.token: ") and "can be reached" not in refusal(path)
        path = written(tmp_path, "[admin\n")  # who knows what else is in it
        assert "can be reached" not in refusal(path, {"VOLTLANE_ADMIN_ADDRESS": "*:1"})

    def test_have_an_end(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[clients]\n" + "".join(f"key_{number} = 1\n" for number in range(30_000)))
        with pytest.raises(ConfigError) as caught:
            config.load(path)
        *told, last = caught.value.mistakes
        assert len(told) == 50 and last == "there are more than 50 mistakes; the others are not told"

    def test_of_values_made_in_code_are_told(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Clients(slow_secs=-1, idle_secs=-1)
        assert len(caught.value.mistakes) == 2
        assert str(caught.value) == "; ".join(caught.value.mistakes)


@pytest.mark.parametrize(
    ("listening", "admin", "twice"),
    [
        ("127.0.0.1:1, tcp://127.0.0.1:1", "", "127.0.0.1:1"),
        ("unix:/a, unix:/a", "", "unix:/a"),
        ("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1"),
        ("127.0.0.1:0, 127.0.0.1:0", "127.0.0.1:0", ""),
        ("127.0.0.1:1, 127.0.0.1:2", "unix:/a", ""),
    ],
)
def test_an_address_is_listened_on_once(listening: str, admin: str, twice: str) -> None:
    flags = {"listener.address": listening, "admin.address": admin}
    if twice:
        with pytest.raises(ConfigError, match=rf"^--listen(, --admin)?: {twice} is listened on twice$"):
            config.load(None, {}, flags)
    else:
        config.load(None, {}, flags)


class TestCluster:
    SECRET = "0123456789abcdef0123456789abcdef"

    @pytest.mark.parametrize(
        "text, shown, user, password",
        [
            ("redis://store.example", "redis://store.example:6379/0", "", ""),
            ("redis://:p%40ss@[::1]:7000/3", "redis://[::1]:7000/3", "", "p@ss"),
            ("REDISS://me:word@10.0.0.1/15", "rediss://10.0.0.1:6379/15", "me", "word"),
            ("redis://me@host:1", "redis://host:1/0", "me", ""),
            ("unix:/run/redis.sock", "unix:/run/redis.sock?db=0", "", ""),
            ("unix:///run/redis.sock?db=4&user=a&password=b%26c", "unix:/run/redis.sock?db=4", "a", "b&c"),
        ],
    )
    def test_urls(self, text: str, shown: str, user: str, password: str) -> None:
        url = config.parse_redis_url(text)
        assert (str(url), repr(url), url.user, url.password) == (shown, shown, user, password)
        assert url.encrypted == shown.startswith("rediss")
        assert config.load(flags={"cluster.url": text, "cluster.secret": self.SECRET}).cluster.url == text

    @pytest.mark.parametrize(
        "text, why",
        [
            ("http://hunter2@host", "it begins with none of"),
            ("hunter2", "it begins with none of"),
            ("redis:hunter2", "it begins with none of"),
            ("redis://:hunter2@", "the host is missing"),
            ("redis://:hun/ter2@host", "are written %2F"),
            ("redis://:hun@ter2@host", "are written %2F"),
            ("redis://:hun?ter2@host", "are written %2F"),
            ("redis://:hunter2@host:0", "the port"),
            ("redis://:hunter2@host:x", "the port"),
            ("redis://:hunter2@*:1", "every interface"),
            ("redis://:hunter2@ho..st", "the host is no name"),
            ("redis://:hunter2@host/x", "the database"),
            ("redis://:hunter2@host/99999", "the database"),
            ("redis://:hunter2%ff@host", "not UTF-8"),
            ("redis://:hunter2 @host", "blanks"),
            ("unix:run/redis?password=hunter2", "begins with /"),
            ("unix:/run/redis?password=hunter2&pass=1", "db, user and password"),
            ("unix:/run/redis?password=hunter2&db=x", "the database"),
        ],
    )
    def test_urls_that_are_none_are_not_repeated(self, text: str, why: str) -> None:
        message = refusal(None, {"VOLTLANE_CLUSTER_URL": text, "VOLTLANE_CLUSTER_SECRET": self.SECRET})
        assert message.startswith("VOLTLANE_CLUSTER_URL: cluster.url: that is no URL of a store") and why in message
        assert "hun" not in message and "ter2" not in message

    def test_need_a_secret(self) -> None:
        url = {"cluster.url": "redis://host"}
        with pytest.raises(ConfigError, match=r"needs cluster\.secret or cluster\.secret_file"):
            config.load(flags=url)
        with pytest.raises(ConfigError, match="both set"):
            config.load(flags={**url, "cluster.secret": self.SECRET, "cluster.secret_file": "/s"})
        for name, value in (("cluster.secret", self.SECRET), ("cluster.secret_file", "/s")):
            assert config.load(flags={**url, name: value})

    def test_a_weak_secret_is_refused_and_not_repeated(self) -> None:
        for secret in ("short", "with blanks in between it is none " * 2, "x" * 1025):
            message = refusal(None, {"VOLTLANE_CLUSTER_SECRET": secret})
            assert "32 to 1024" in message and secret not in message

    def test_a_certificate_is_for_tls(self) -> None:
        given = {"cluster.secret": self.SECRET, "cluster.ca_file": "/ca.pem"}
        with pytest.raises(ConfigError, match=r"is for a cluster\.url of rediss:// only"):
            config.load(flags={**given, "cluster.url": "redis://host"})
        assert config.load(flags={**given, "cluster.url": "rediss://host"})

    def test_secrets_are_not_printed(self, tmp_path: Path) -> None:
        text = config.to_toml(
            Config(
                admin=Admin("127.0.0.1:1", "a-token-of-16-or-more"),
                cluster=Cluster(url="redis://:hunter2@host", secret=self.SECRET),
            ),
            hide=True,
        )
        assert "hunter2" not in text and self.SECRET not in text and "a-token" not in text
        assert text.count(f'"{config.document.HIDDEN}"') == 3
        assert config.load(written(tmp_path, text)).cluster == Cluster()
