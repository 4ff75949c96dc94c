"""What a P-Series displays: the menu of its webhooks, and times in the date order and clock that its administrator
chose (yeastar-p-series.md 2.3, 7.2).

The event always contains `2026-06-30 21:37:17`; the web API writes `30/06/2026 09:37:17 PM`, or one of five other
formats.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

WEBHOOK_MENU = "Integrations > API > Webhook Event Push"
"""Where webhooks are set (yeastar-p-series.md 4)."""

TIME_CHARACTERS_MAX = 24
"""`30/06/2026 09:37:17 PM` has 22."""

_DATE_PATTERNS: Mapping[str, str] = {"YYYY/MM/DD": "%Y/%m/%d", "MM/DD/YYYY": "%m/%d/%Y", "DD/MM/YYYY": "%d/%m/%Y"}
_TIME_PATTERNS: Mapping[str, str] = {"24": "%H:%M:%S", "12": "%I:%M:%S %p"}


class DisplayFormat(msgspec.Struct, frozen=True):
    """One of the six formats: `YYYY/MM/DD`, `MM/DD/YYYY` or `DD/MM/YYYY`, and a clock of `24` or `12` hours."""

    date_format: str = "YYYY/MM/DD"
    time_format: str = "24"

    def format(self, local: datetime) -> str:
        """Format a wall clock as the PBX displays it.

        >>> DisplayFormat("DD/MM/YYYY", "12").format(datetime(2026, 6, 30, 21, 37, 17))
        '30/06/2026 09:37:17 PM'
        """
        return local.strftime(self._pattern)

    def parse(self, text: str) -> datetime | None:
        """Parse a displayed wall clock; return None for a text in another format.

        >>> DisplayFormat("MM/DD/YYYY", "24").parse("04/27/2026 18:41:34")
        datetime.datetime(2026, 4, 27, 18, 41, 34)
        """
        if len(text) > TIME_CHARACTERS_MAX:
            return None
        try:
            return datetime.strptime(text.strip(), self._pattern)  # noqa: DTZ007 - a wall clock has no zone
        except ValueError:
            return None

    @property
    def _pattern(self) -> str:
        return f"{_DATE_PATTERNS[self.date_format]} {_TIME_PATTERNS[self.time_format]}"
