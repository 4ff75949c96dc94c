"""How a P-Series displays moments: in the order and with the clock that its administrator chose (PROTOCOL.md 2.3, 7.2).

The event says `2026-06-30 21:37:17` whatever was chosen; the web API says `30/06/2026 09:37:17 PM`, or another of six.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

DISPLAYED_CHARACTERS_MAX = 24
"""`30/06/2026 09:37:17 PM` has 22."""

_DATES: Mapping[str, str] = {"YYYY/MM/DD": "%Y/%m/%d", "MM/DD/YYYY": "%m/%d/%Y", "DD/MM/YYYY": "%d/%m/%Y"}
_TIMES: Mapping[str, str] = {"24": "%H:%M:%S", "12": "%I:%M:%S %p"}


class DisplayFormat(msgspec.Struct, frozen=True):
    """One of the six: `YYYY/MM/DD`, `MM/DD/YYYY` or `DD/MM/YYYY`, and a clock of `24` or `12` hours."""

    date_format: str = "YYYY/MM/DD"
    time_format: str = "24"

    def shown(self, local: datetime) -> str:
        """A wall clock as it is displayed.

        >>> DisplayFormat("DD/MM/YYYY", "12").shown(datetime(2026, 6, 30, 21, 37, 17))
        '30/06/2026 09:37:17 PM'
        """
        return local.strftime(self._pattern)

    def read(self, text: str) -> datetime | None:
        """The wall clock that is displayed so, or None for a text in another form.

        >>> DisplayFormat("MM/DD/YYYY", "24").read("04/27/2026 18:41:34")
        datetime.datetime(2026, 4, 27, 18, 41, 34)
        """
        if len(text) > DISPLAYED_CHARACTERS_MAX:
            return None
        try:
            return datetime.strptime(text.strip(), self._pattern)  # noqa: DTZ007 - a wall clock has no zone
        except ValueError:
            return None

    @property
    def _pattern(self) -> str:
        return f"{_DATES[self.date_format]} {_TIMES[self.time_format]}"
