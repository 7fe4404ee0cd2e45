"""The conditions of a lab's links: what is asked of each, and the engine that makes it so.

There is no engine, and nothing in any link's path, before the first condition is asked for.
"""

from __future__ import annotations

from patchbay_runner.kernel.links import LinkEngine, LinkPort, LinkStatistics, link_engine
from patchbay_runner.model.links import Direction, LinkCondition

Both = tuple[LinkCondition | None, LinkCondition | None]
_CLEAR: Both = (None, None)


class LinkConditions:
    """Conditions by the name of their link. `seed` decides the fate of the n-th packet of each."""

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._engine: LinkEngine | None = None
        self._asked: dict[str, Both] = {}

    def set(self, port: LinkPort, condition: LinkCondition | None, direction: Direction) -> None:
        """Impairs a link, or clears it with None. Raises KernelError or LabError, and leaves it as it was."""
        up, down = self._asked.get(port.name, _CLEAR)
        asked = (
            condition if direction in ("up", "both") else up,
            condition if direction in ("down", "both") else down,
        )
        self._apply(port, asked)
        self._asked[port.name] = asked

    def lift(self, port: LinkPort) -> None:
        """Takes the condition off a link that is about to go, and remembers it."""
        if self._engine is not None and port.name in self._asked:
            self._engine.forget(port)

    def restore(self, port: LinkPort) -> None:
        """Puts the remembered condition on a link that has come in the other's place."""
        if port.name in self._asked:
            self._apply(port, self._asked[port.name])

    def forget(self, port: LinkPort) -> None:
        """The link is gone for good."""
        self._asked.pop(port.name, None)

    def statistics(self) -> list[LinkStatistics]:
        """Every link that is or was impaired."""
        return [] if self._engine is None else self._engine.statistics()

    def close(self) -> None:
        """Ends the engine."""
        if self._engine is not None:
            self._engine.close()

    def _apply(self, port: LinkPort, asked: Both) -> None:
        if self._engine is None:
            if all(condition is None or condition.is_clear for condition in asked):
                return
            self._engine = link_engine(self._seed)
        self._engine.apply(port, *asked)
