"""What an erasure of a number changes, and how far it is."""

from typing import Literal

import msgspec

ErasureState = Literal["erasing", "rewritten", "finished"]


class ErasureCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What has the number: calls, raw events of these and of the quarantine, rows. `settings` names destinations, users
    and other settings that name it: they stay as they are. `elsewhere` has sentences about what is not reached.
    """

    calls: int
    raw_events: int
    notes: int
    recordings: int
    deliveries: int
    saved_searches: int
    share_tokens: int
    audit_entries: int
    directory_entries: int = 0
    saved_questions: int = 0
    past_queries: int = 0
    logged_attempts: int = 0
    mails: int = 0
    report_schedules: int = 0
    failure_texts: int = 0
    settings: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure: the number of its entry in the ledger, its calls, and its state. `erasing`: the number is neither
    shown nor sent; `rewritten`: no event and no row has it; `finished`: no file has it.
    """

    seq: int
    calls: int
    state: ErasureState
