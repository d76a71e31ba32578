"""What no single setting can tell: how they have to go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Callable, NamedTuple

from ..address import ENCRYPTED, UDP, WEB_PORTS, Address, is_loopback, parse_address, parse_listener
from .mistakes import Mistakes
from .redis_url import parse_redis_url

NODES = 256
"""How many there are to be had: see `core.ids`."""

Values = Mapping[str, Any]
"""The value of every setting, by section.key."""


class Rule(NamedTuple):
    """One of them."""

    about: tuple[str, ...]
    """The settings it looks at."""
    broken: Callable[[Values, Mapping[str, str]], str]
    """What is wrong, or "": of the values, and of where those were given that were."""


def check_together(values: Values, origins: Mapping[str, str], mistakes: Mistakes) -> None:
    """Judge by every rule but those about settings in which there is a mistake already.

    `origins` says where each setting was given, of those that were.
    """
    for rule in RULES:
        wrong = rule.broken(values, origins) if mistakes.about.isdisjoint(rule.about) else ""
        if wrong:
            places = dict.fromkeys([origins[name] for name in rule.about if name in origins])
            mistakes.add(f"{', '.join(places)}{': ' if places else ''}{wrong}")


def _in_order(least: str, most: str) -> Rule:
    """The first must not be more than the second; 0 there is no number but asks for one to be found."""

    def broken(values: Values, origins: Mapping[str, str]) -> str:
        smaller, larger = values[least], values[most]
        if smaller <= larger or larger <= 0:
            return ""
        return f"{least} = {smaller:.12g} is more than {most} = {larger:.12g}{'' if most in origins else ' (default)'}"

    return Rule((least, most), broken)


def _open_endpoint(values: Values, _: object) -> str:
    text = values["admin.address"]
    if not text or values["admin.token"]:
        return ""
    address = parse_address(text)
    if address.kind == "unix" or is_loopback(address.host):
        return ""
    return (
        f"admin.address = {text} can be reached from elsewhere, so admin.token is needed; without one it must be a "
        "unix socket or a loopback address like 127.0.0.1:42002"
    )


def _anybody_is_a_proxy(values: Values, _: object) -> str:
    if values["listener.proxy_networks"]:
        return ""
    required, named = values["listener.proxy_protocol"] == "required", values["web.forwarded"]
    for text in values["listener.address"]:
        address = parse_listener(text)
        if address.scheme == UDP:
            continue
        if address.kind == "tcp" and (required or (named != "off" and address.scheme in WEB_PORTS)):
            setting = "listener.proxy_protocol = required" if required else f"web.forwarded = {named}"
            return (
                f"{setting} needs listener.proxy_networks: else whoever can connect to {text} could claim to be anybody"
            )
    return ""


def _nobody_ends_tls(values: Values, _: object) -> str:
    if not values["listener.proxy_tls"] or values["listener.proxy_protocol"] == "required":
        return ""
    if values["web.forwarded"] != "off":
        return ""
    return (
        "listener.proxy_tls needs proxies that say who came over TLS: by listener.proxy_protocol = required (version 2 "
        "of the PROXY protocol), or by web.forwarded"
    )


def _no_certificate(values: Values, _: object) -> str:
    for text in values["listener.address"]:
        if parse_listener(text).scheme in ENCRYPTED and not values["tls.certificate"]:
            return f"listener.address has {text}, which needs a certificate: set tls.certificate (and tls.key)"
    return ""


def _keys_of_others(values: Values, _: object) -> str:
    certificates, keys = len(values["tls.certificate"]), len(values["tls.key"])
    if not certificates or not keys or keys == certificates:
        return ""
    return f"tls.certificate has {certificates} files and tls.key {keys}: each certificate needs its key, in order"


def _nobody_signs(values: Values, _: object) -> str:
    asked = values["tls.client_certificates"]
    if asked == "off" or values["tls.client_ca"] or not values["tls.certificate"]:
        return ""
    return f"tls.client_certificates = {asked} needs tls.client_ca: the file of those who sign them"


def _no_secret(values: Values, _: object) -> str:
    if not values["cluster.url"]:
        return ""
    if values["cluster.secret"] and values["cluster.secret_file"]:
        return "cluster.secret and cluster.secret_file are both set: one of them is enough"
    if values["cluster.secret"] or values["cluster.secret_file"]:
        return ""
    return (
        "cluster.url needs cluster.secret or cluster.secret_file, the same for all servers (openssl rand -hex 32 makes "
        "one)"
    )


def _kept_twice(values: Values, _: object) -> str:
    if values["cluster.url"] and values["general.state_dir"]:
        return "cluster.url and general.state_dir are both set: with several servers the store has the sessions"
    return ""


def _workers_of_several(values: Values, _: object) -> str:
    if values["cluster.url"] and values["general.workers"] != 1:
        return "cluster.url and general.workers are both set: start one more server for each core"
    return ""


def _nobody_shows_a_certificate(values: Values, _: object) -> str:
    if not values["cluster.ca_file"] or parse_redis_url(values["cluster.url"] or "unix:/none").encrypted:
        return ""
    return "cluster.ca_file is for a cluster.url of rediss:// only"


def _nobody_has_sessions(values: Values, _: object) -> str:
    schemes = {parse_listener(text).scheme for text in values["listener.address"]}
    if schemes != {UDP} or values["udp.mode"] == "open":
        return ""
    return (
        "listener.address has udp:// alone: with udp.mode = sessions clients need an address for their connection, too"
    )


def _taken_twice(values: Values, _: object) -> str:
    taken: set[Address] = set()
    for address in _listening(values):
        if address in taken:
            return f"{address} is listened on twice"
        if address.kind == "unix" or address.port:  # each port 0 becomes another one
            taken.add(address)
    return ""


def _listening(values: Values) -> Iterator[Address]:
    for text in values["listener.address"]:
        address = parse_listener(text)
        yield address if address.scheme == UDP else address._replace(scheme="")
    if values["admin.address"]:
        yield parse_address(values["admin.address"])


def _nodes_used_up(values: Values, _: object) -> str:
    node, workers = values["general.node"], values["general.workers"]
    if node + workers <= NODES:
        return ""
    return (
        f"general.node = {node} with general.workers = {workers} needs nodes up to {node + workers - 1}, and "
        f"{NODES - 1} is the last: each worker has a node of its own"
    )


IN_ORDER = (
    ("master.reconnect_min_secs", "master.reconnect_max_secs"),
    ("master.outbox_bytes", "limits.memory_bytes"),
)
RULES = (
    *[_in_order(least, most) for least, most in IN_ORDER],
    Rule(("admin.address", "admin.token"), _open_endpoint),
    Rule(
        ("listener.address", "listener.proxy_protocol", "listener.proxy_networks", "web.forwarded"), _anybody_is_a_proxy
    ),
    Rule(("listener.proxy_tls", "listener.proxy_protocol", "web.forwarded"), _nobody_ends_tls),
    Rule(("general.node", "general.workers"), _nodes_used_up),
    Rule(("listener.address", "udp.mode"), _nobody_has_sessions),
    Rule(("listener.address", "admin.address"), _taken_twice),
    Rule(("listener.address", "tls.certificate"), _no_certificate),
    Rule(("tls.certificate", "tls.key"), _keys_of_others),
    Rule(("cluster.url", "cluster.secret", "cluster.secret_file"), _no_secret),
    Rule(("cluster.url", "general.state_dir"), _kept_twice),
    Rule(("cluster.url", "general.workers"), _workers_of_several),
    Rule(("cluster.url", "cluster.ca_file"), _nobody_shows_a_certificate),
    Rule(("tls.certificate", "tls.client_certificates", "tls.client_ca"), _nobody_signs),
)
