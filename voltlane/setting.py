"""What is known about one setting, and how a value given for it is checked. The settings stand in `config`."""

from __future__ import annotations

import math
from dataclasses import Field, field, fields
from typing import Any, NamedTuple, TypeVar, Union

from .address import parse_address
from .errors import ConfigError

Value = Union[str, int, float]
T = TypeVar("T", bound=Value)

ENV_PREFIX = "VOLTLANE_"

_YEAR = 365 * 86400
_SHORT_NAMES = {"general.log_level": "VOLTLANE_LOG_LEVEL"}
_ADDRESS_FORMS = {
    "listen": "host:port, [IPv6]:port, *:port (every interface) or unix:/path",
    "dial": "host:port, [IPv6]:port or unix:/path",
}


def setting(
    default: T,
    help: str,
    *,
    unit: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    address: str = "",
    flag: str = "",
) -> T:
    """A dataclass field that is one row of the table; see `Setting` for the arguments."""
    row = (default, unit, at_least, at_most, choices, address, flag, help)
    value: T = field(default=default, metadata={"row": row})
    return value


def seconds(default: float, help: str, *, at_least: float = 0.0, at_most: float = _YEAR) -> float:
    """The row of a time span. The shortest may be 0 where that has a meaning of its own."""
    return setting(default, help, unit="seconds", at_least=at_least, at_most=at_most)


class Setting(NamedTuple):
    """A row of the table: what validation and documentation need to know about one key."""

    section: str
    key: str
    default: Value
    """Its type is the setting's type."""
    unit: str
    at_least: float | None
    at_most: float | None
    choices: tuple[str, ...]
    """The words allowed, in any case; empty for other settings."""
    address: str
    """"listen" or "dial" where the value is an address, to be used that way; else ""."""
    flag: str
    """The command line's flag for it, or ""."""
    help: str

    @property
    def name(self) -> str:
        """section.key"""
        return f"{self.section}.{self.key}"

    @property
    def env(self) -> str:
        """The environment variable to use for it."""
        return _SHORT_NAMES.get(self.name) or self.full_env

    @property
    def full_env(self) -> str:
        """VOLTLANE_<SECTION>_<KEY>, which works for every setting."""
        return f"{ENV_PREFIX}{self.section}_{self.key}".upper()

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.address:
            return _ADDRESS_FORMS[self.address]
        words = "a whole number of " if isinstance(self.default, int) else "a number of "
        words += self.unit
        if self.at_least is not None:
            words += f", at least {self.at_least:g}"
        if self.at_most is not None:
            words += f", at most {self.at_most:.12g}"
        return words

    def check(self, value: object, origin: str = "") -> Value:
        """The value in its canonical form. Raises ConfigError; `origin` says where the value was given."""
        where = f"{origin}: {self.name}" if origin else self.name
        if self.address and isinstance(value, str):
            return self._check_address(value, where)
        if self.choices and isinstance(value, str):
            for choice in self.choices:
                if choice.lower() == value.strip().lower():
                    return choice
        if isinstance(value, (int, float)) and self._is_allowed(value):
            return float(value) if isinstance(self.default, float) else value
        raise ConfigError(f"{where}: {_shown(value)} was given, {self.allowed} is needed")

    def check_text(self, text: str, origin: str = "") -> Value:
        """`check` for a source that has only text: the environment and the command line."""
        return self.check(text if isinstance(self.default, str) else _number(text), origin)

    def _is_allowed(self, value: float) -> bool:
        if isinstance(value, bool) or isinstance(self.default, str):
            return False
        if isinstance(value, float) and (isinstance(self.default, int) or not math.isfinite(value)):
            return False
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def _check_address(self, text: str, where: str) -> str:
        try:
            address = parse_address(text.strip())
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        if self.address == "dial" and address.kind == "tcp" and not (address.host and address.port):
            nowhere = "port 0" if address.host else "every interface (*)"
            raise ConfigError(f"{where}: {text!r} was given, but one cannot connect to {nowhere}")
        return str(address)


class Section:
    """Base of the dataclasses whose fields are settings: values are checked, and put in canonical form, when made."""

    def __post_init__(self) -> None:
        for row in settings_of(type(self)):
            # Frozen for everyone else; this is still the making of it.
            object.__setattr__(self, row.key, row.check(getattr(self, row.key)))


def settings_of(section: type[Section]) -> tuple[Setting, ...]:
    """The rows of one section; its name is the class's name in lower case."""
    rows: tuple[Field[Any], ...] = fields(section)  # type: ignore[arg-type]
    return tuple(Setting(section.__name__.lower(), row.name, *row.metadata["row"]) for row in rows)


def _number(text: str) -> int | float | str:
    """The number that a text holds, else the text."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _shown(value: object) -> str:
    try:
        text = str(value).lower() if isinstance(value, bool) else repr(value)
    except ValueError:  # Python refuses to write out an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else text[:80] + "…"
