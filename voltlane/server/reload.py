"""Reading the settings again while the server runs (SIGHUP): what changed, what took effect, what needs a restart.

Values are not logged: there may be secrets among them.
"""

from __future__ import annotations

from typing import Callable

from ..config import Config, changes
from ..errors import ConfigError
from ..ops.log import log


def reload(running: Config, source: Callable[[], Config], apply: Callable[[Config], None]) -> bool:
    """Apply what the source says: all of it, or nothing where anything is wrong with it, whatever that is. Whether it
    was applied.

    `apply` is all or nothing as well.
    """
    try:
        change = changes(running, source())
        apply(change.config)  # before anything is said: how that is logged may be among it
    except Exception as error:
        what = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        log.error("the settings stay as they are: %.500s", what)
        return False
    if change.applied:
        log.info("reloaded: %s", ", ".join(change.applied))
    if change.pending:
        log.warning("changed, but needs a restart: %s", ", ".join(change.pending))
    if not change.applied and not change.pending:
        log.info("reloaded: nothing has changed")
    return True
