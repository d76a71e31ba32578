"""The store of a process that follows another one in place: it goes on with the same files, from where that one was.

Nothing of the directory is changed before that process has left it. The journal is the same file, which is written anew
when it is time for that, as ever.
"""

from __future__ import annotations

from typing import Any

from ..core.hub import Hub
from ..core.registry import Registry
from ..ops.log import log
from .backlogs import Backlogs
from .directory import StateDirectory
from .ledger import Ledger
from .no_store import MovedStore, Upwards
from .session_store import SessionStore


class HeirStore(SessionStore):
    """See the module's docstring. `epoch` is that of the process before: it is one memory that goes on."""

    def __init__(self, epoch: int, *arguments: Any, **named: Any) -> None:
        self._before = epoch
        super().__init__(*arguments, **named)

    def _found(self, directory: StateDirectory) -> tuple[Ledger, Backlogs | None]:
        """See SessionStore: what there is comes from the other process."""
        ledger = Ledger()
        ledger.epoch = self._before - 1
        return ledger, None

    def restore(self, registry: Registry, hub: Hub, trunk: Upwards) -> None:
        """See NoStore: the same."""
        self._registry, self._trunk = registry, trunk

    def move_in(self, moved: MovedStore) -> None:
        """See NoStore."""
        self._journal.move_in(moved.journal)
        self._spool.move_in(moved.spool)

    def begin(self) -> None:
        """See NoStore. From here on nothing is refused: what fails is tried again."""
        try:
            self._directory.sign()
        except OSError as error:
            log.warning("%s does not say who has it: %s", self._directory.name("lock"), error.strerror)
        self._registry.journal = self
        self._trunk.before_connecting = self._on_master
        self._give_out(self._registry.ids.last)
        if not self._journal.writable:
            self._draft(self._reactor.now)
        elif self._sync_secs and self._journal.unsynced:
            self._syncing = self._reactor.call_later(self._sync_secs, self._sync)
