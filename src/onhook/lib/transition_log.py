"""Lasting conditions: one log line when each begins, one when it ends, none in between."""

import logging
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Condition = TypeVar("Condition")


class TransitionLog:
    """One condition that is on or off, such as an unreadable database."""

    def __init__(self, log: logging.Logger, *, begins: str, ends: str, level: int = logging.ERROR) -> None:
        self._log = log
        self._begins = begins
        self._ends = ends
        self._level = level
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """Return whether the condition has begun and not ended."""
        return self._is_on

    def begin(self, **extra: object) -> None:
        """Log the begin of the condition, unless it was logged already."""
        if not self._is_on:
            self._log.log(self._level, self._begins, extra=extra)
        self._is_on = True

    def end(self, **extra: object) -> None:
        """Log the end of the condition, if its begin was logged."""
        if self._is_on:
            self._log.info(self._ends, extra=extra)
        self._is_on = False


class Transitions(Generic[Condition]):
    """Many conditions, each under a key: which have begun, and which have ended."""

    def __init__(self) -> None:
        self._current: dict[Hashable, Condition] = {}

    def update(self, current: Mapping[Hashable, Condition]) -> tuple[list[Condition], list[Condition]]:
        """Return the conditions that have begun and those that have ended since the last call.

        >>> transitions = Transitions[str]()
        >>> transitions.update({1: "full"}), transitions.update({1: "full", 2: "failing"}), transitions.update({})
        ((['full'], []), (['failing'], []), ([], ['full', 'failing']))
        """
        begun = [condition for key, condition in current.items() if key not in self._current]
        ended = [condition for key, condition in self._current.items() if key not in current]
        self._current = dict(current)
        return begun, ended

    def begin(self, key: Hashable, condition: Condition) -> bool:
        """Add one condition. Return whether it has begun; False where an equal one had begun before.

        >>> transitions = Transitions[str]()
        >>> transitions.begin(1, "full"), transitions.begin(1, "full"), transitions.end(1), transitions.end(1)
        (True, False, True, False)
        """
        has_begun = key not in self._current or self._current[key] != condition
        self._current[key] = condition
        return has_begun

    def end(self, key: Hashable) -> bool:
        """Remove one condition. Return whether it has ended; False where it had not begun."""
        has_ended = key in self._current
        self._current.pop(key, None)
        return has_ended
