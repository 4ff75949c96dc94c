"""What a reader may see: some PBXs, some extensions, or both; and whether external numbers are masked.

A record is allowed if its PBX is in scope and one of its two numbers is; a call if its PBX is in scope and one of its
legs has such a number.
"""

import msgspec

from onhook.cdr.identity import extract_number
from onhook.cdr.number_masking import Mask
from onhook.cdr.record import Call, Record


class AccessScope(msgspec.Struct, frozen=True):
    """Serial numbers of PBXs, and numbers. None means no limit, empty allows nothing. `mask` says how external numbers
    are shown; a filter itself does not mask.
    """

    sns: tuple[str, ...] | None = None
    numbers: tuple[str, ...] | None = None
    mask: Mask = "none"

    def allows_record(self, record: Record) -> bool:
        """Return whether the reader may see this record."""
        return self.allows_pbx(record.sn) and self._has_number(record)

    def allows_call(self, call: Call) -> bool:
        """Return whether the reader may see this call, with all of its legs."""
        return self.allows_pbx(call.sn) and any(self._has_number(leg) for leg in call.legs)

    def allows_pbx(self, sn: str) -> bool:
        """Return whether the reader may see data of this PBX."""
        return self.sns is None or sn in self.sns

    def _has_number(self, leg: Record) -> bool:
        if self.numbers is None:
            return True
        return extract_number(leg.call_from) in self.numbers or extract_number(leg.call_to) in self.numbers
