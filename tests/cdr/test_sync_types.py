"""State of the synchronisation with a PBX, as the application database stores it."""

import msgspec
import pytest

from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus, PushChannelStatus


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ('{"checked_at":7}', PbxStatus(checked_at=7, firmware="", skew_seconds=None, offset_seconds=None)),
        ('{"state":"connected","since":7}', PushChannelStatus(state="connected", since=7, reason="")),
        (
            '{"since":1,"until":9,"done_until":5,"started_at":10,"requested_since":2}',
            BackfillProgress(since=1, until=9, done_until=5, started_at=10, requested_since=2, requested_until=None),
        ),
        ('{"since":1,"until":null,"requested_at":7}', BackfillRequest(since=1, until=None, requested_at=7)),
        ('{"requested_at":7}', BackfillResult(requested_at=7, rows=0, unreadable=0, incomplete_reason="", error="")),
    ],
)
def test_stored_state_without_optional_members_is_read(text: str, state: msgspec.Struct) -> None:
    assert msgspec.json.decode(text, type=type(state)) == state
    assert msgspec.json.decode(msgspec.json.encode(state), type=type(state)) == state
