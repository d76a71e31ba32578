"""What is known about one setting, and how a value given for it is checked. The settings stand in `sections`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import Field, field, fields
from typing import Any, NamedTuple, TypeVar, Union

from ..errors import ConfigError
from ..numerals import parse_number
from .forms import Form, shown
from .mistakes import Mistakes

Value = Union[str, int, float, "tuple[str, ...]"]
T = TypeVar("T", bound=Value)

ENV_PREFIX = "VOLTLANE_"

_YEAR = 365 * 86400
_MOST = 1 << 32
"""Of packets, clients, lines, and of what comes in a second: no machine has so many, but who wants no limit may write
the largest number of 31 or 32 bits."""
_MOST_BYTES = 1 << 40
"""No queue is larger. Both are far below 2^53, up to which floats, and whoever reads our figures, count exactly."""
_SHORT_NAMES = {"general.log_level": "VOLTLANE_LOG_LEVEL"}
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def setting(
    default: T,
    help: str,
    *,
    unit: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    form: Form | None = None,
    flag: str = "",
    live: bool = False,
) -> T:
    """A dataclass field that is one row of the table; see `Setting` for the arguments. Every number has a bound."""
    if unit and at_most is None:
        at_most = _MOST_BYTES if unit == "bytes" else _MOST
    row = (default, unit, at_least, at_most, form, flag, help, live)
    value: T = field(default=default, metadata={"row": row})
    return value


def seconds(default: float, help: str, *, at_least: float = 0.0, at_most: float = _YEAR, live: bool = False) -> float:
    """The row of a time span. The shortest may be 0 where that has a meaning of its own."""
    return setting(default, help, unit="seconds", at_least=at_least, at_most=at_most, live=live)


class Setting(NamedTuple):
    """A row of the table: what validation and documentation need to know about one key."""

    section: str
    key: str
    default: Value
    """Its type is the setting's type: text, a whole number, a number, true or false, or a tuple of texts."""
    unit: str
    """Of numbers."""
    at_least: float | None
    """Of a tuple: how many texts there must be."""
    at_most: float | None
    form: Form | None
    """Of texts, and of each text of a tuple."""
    flag: str
    """The command line's flag for it, or ""."""
    help: str
    live: bool = False
    """Whether a running server can change it (SIGHUP)."""

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
    def type_text(self) -> str:
        """What kind of value it is, in words."""
        if self.form is not None:
            return "a list of texts" if self.is_list else "text"
        if isinstance(self.default, bool):
            return "true or false"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        return f"{kind} of {self.unit}" if self.unit else kind

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.form is not None:
            return f"{self.form.allowed}; several in a list" if self.is_list else self.form.allowed
        words = self.type_text
        if self.at_least is not None:
            words += f", at least {self.at_least:.13g}"
        if self.at_most is not None:
            words += f", at most {self.at_most:.13g}"
        return words

    @property
    def default_text(self) -> str:
        """The default as one would write it."""
        if self.is_list:
            return ", ".join(self.default) or "none"  # type: ignore[arg-type]
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return f"{self.default:.12g}" if isinstance(self.default, float) else str(self.default) or '""'

    @property
    def is_secret(self) -> bool:
        """Whether nothing may show its value."""
        return self.form is not None and self.form.secret

    @property
    def is_list(self) -> bool:
        """Whether it takes several texts: a list in the file, commas between them elsewhere."""
        return isinstance(self.default, tuple)

    def check(self, value: object, origin: str = "") -> Value:
        """The value in its canonical form. Raises ConfigError; `origin` says where the value was given."""
        where = f"{origin}: {self.name}" if origin else self.name
        if self.is_list and isinstance(value, (str, list, tuple)):
            return self._texts([value] if isinstance(value, str) else value, where)
        if self.form is not None:
            return self._text(value, where)
        if isinstance(self.default, bool):
            if isinstance(value, bool):
                return value
        elif isinstance(value, (int, float)) and self._is_allowed(value):
            return float(value) if isinstance(self.default, float) else value
        raise self._refusal(value, where)

    def check_text(self, text: str, origin: str = "") -> Value:
        """`check` for a source that has only text: the environment and the command line."""
        if self.is_list:
            return self.check([part for part in map(str.strip, text.split(",")) if part], origin)
        if isinstance(self.default, str):
            return self.check(text, origin)
        if isinstance(self.default, bool):
            return self.check(_BOOLEANS.get(text.strip().lower(), text), origin)
        number = parse_number(text)
        return self.check(text if number is None else number, origin)

    def _texts(self, values: Sequence[object], where: str) -> tuple[str, ...]:
        if len(values) < (self.at_least or 0):
            raise self._refusal(values, where)
        texts, mistakes = [], Mistakes()
        for value in values:
            with mistakes.gathered():
                texts.append(self._text(value, where))
        mistakes.tell()
        return tuple(texts)

    def _text(self, value: object, where: str) -> str:
        if not isinstance(value, str) or self.form is None:
            raise self._refusal(value, where)
        try:
            return self.form.canonical(value.strip())
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def _refusal(self, value: object, where: str) -> ConfigError:
        given = "something else" if self.is_secret else shown(value)
        return ConfigError(f"{where}: {given} was given, {self.allowed} is needed")

    def _is_allowed(self, value: float) -> bool:
        if isinstance(value, bool):
            return False
        if isinstance(value, float) and (isinstance(self.default, int) or not math.isfinite(value)):
            return False
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


class Section:
    """Base of the dataclasses whose fields are settings: values are checked, and put in canonical form, when made."""

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        for row in settings_of(type(self)):
            with mistakes.gathered():
                # Frozen for everyone else; this is still the making of it.
                object.__setattr__(self, row.key, row.check(getattr(self, row.key)))
        mistakes.tell()


def settings_of(section: type[Section]) -> tuple[Setting, ...]:
    """The rows of one section; its name is the class's name in lower case."""
    rows: tuple[Field[Any], ...] = fields(section)  # type: ignore[arg-type]
    return tuple(Setting(section.__name__.lower(), row.name, *row.metadata["row"]) for row in rows)
