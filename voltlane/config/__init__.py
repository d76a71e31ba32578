"""The settings: one table, from which file, environment, flags, validation and documentation are made.

sections    the table: each section a dataclass, each setting a field
limits      one of its sections: who may connect, and how much of everything there may be
web         another one: whose pages may connect, and what else concerns the lanes for the web
udp         another one: datagrams
cluster     another one: several servers that are one; redis_url: the URL of their store
setting     what is known about one of them, and how a value for it is checked
forms       what the texts among them may look like
mistakes    what is wrong, gathered to be told at once
rules       how settings have to go together
sources     `load`: flags over environment over file over defaults; `load_section`: one section of that
document    `to_toml`: the commented file; `profile_to_toml`: that of a profile
profiles    the settings that go together for one use
changes     what a running server takes over from settings that have changed

Every mistake is told, in one ConfigError: where it stands (file and line, variable or flag), the key, what was given
and what is allowed.
"""

from .changes import Changes, changes
from .cluster import Cluster
from .document import profile_to_toml, to_toml
from .limits import Limits
from .profiles import PROFILES
from .redis_url import RedisUrl, parse_redis_url
from .sections import (
    LOG_LEVELS,
    PACKET_SIZE_MAX,
    SETTINGS,
    Admin,
    Clients,
    Config,
    General,
    Listener,
    Master,
    Quality,
    Socket,
    Tls,
    defaults,
)
from .setting import Setting
from .sources import load, load_section, nearest
from .udp import Udp
from .web import Web

__all__ = [
    "LOG_LEVELS",
    "PACKET_SIZE_MAX",
    "PROFILES",
    "SETTINGS",
    "Admin",
    "Changes",
    "Clients",
    "Cluster",
    "Config",
    "General",
    "Limits",
    "Listener",
    "Master",
    "Quality",
    "RedisUrl",
    "Setting",
    "Socket",
    "Tls",
    "Udp",
    "Web",
    "changes",
    "defaults",
    "load",
    "load_section",
    "nearest",
    "parse_redis_url",
    "profile_to_toml",
    "to_toml",
]
