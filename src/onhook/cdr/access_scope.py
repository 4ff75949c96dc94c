"""What a reader is limited to: some PBXs, some extensions, or both.

A record is within the limits when it is of such a PBX and such a number is on one of its sides; a call when it is of
such a PBX and one of its legs has such a number.
"""

import msgspec

from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call, Record


class AccessScope(msgspec.Struct, frozen=True):
    """Serial numbers of PBXs, and numbers; None where there is no limit of that kind, and nothing where it is empty."""

    sns: tuple[str, ...] | None = None
    numbers: tuple[str, ...] | None = None

    def allows_record(self, record: Record) -> bool:
        """Whether this record may be seen."""
        return self.allows_pbx(record.sn) and self._has_number(record)

    def allows_call(self, call: Call) -> bool:
        """Whether this call may be seen, with all of its legs."""
        return self.allows_pbx(call.sn) and any(self._has_number(leg) for leg in call.legs)

    def allows_pbx(self, sn: str) -> bool:
        """Whether anything of this PBX may be seen."""
        return self.sns is None or sn in self.sns

    def _has_number(self, leg: Record) -> bool:
        if self.numbers is None:
            return True
        return extract_number(leg.call_from) in self.numbers or extract_number(leg.call_to) in self.numbers
