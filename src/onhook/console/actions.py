"""Actions that the console receives from `runtime`: send a test event, run checks, start a simulated PBX."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from onhook.appdb.destination_spec import PayloadFormat
from onhook.cdr.erasure_types import Erasure, ErasureCounts
from onhook.delivery.mail_sender import MailResult
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.preview import NotificationPreview
from onhook.delivery.status import DestinationTestResult
from onhook.lib.messages import mark


class CheckResult(Protocol):
    """The result of one check: `ERROR` breaks something, `WARNING` needs a person's judgement."""

    @property
    def status(self) -> Literal["OK", "WARNING", "ERROR"]: ...
    @property
    def detail(self) -> str: ...
    @property
    def hint(self) -> str: ...


class CertificateResult(Protocol):
    """The certificate of a PBX: its SHA-256, and why no certificate authority verifies it, or an empty text."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def verification_error(self) -> str: ...


class ConsoleActions(msgspec.Struct, frozen=True, kw_only=True):
    """`send_test_event` posts a signed test event as the PBX with that serial number would, and returns the result in a
    sentence. `run_pbx_checks` runs the checks of `onhook doctor`. `start_simulated_pbx` runs a simulated PBX for a
    while. `fetch_certificate` returns the certificate of `https://HOST:PORT` without trusting it. `rebuild` has the
    store rebuilt as `onhook rebuild` does. `restrict_permissions` takes from other users the right to read files of the
    data directory, and returns their names. `send_test_mail` sends a mail to addresses that are separated by commas, to
    the sender where there are none. All raise `OnhookError`.
    """

    send_test_event: Callable[[str], Awaitable[str]]
    run_pbx_checks: Callable[[str], Awaitable[Sequence[CheckResult]]]
    start_simulated_pbx: Callable[[], Awaitable[None]]
    fetch_certificate: Callable[[str], Awaitable[CertificateResult]]
    rebuild: Callable[[], Awaitable[None]]
    restrict_permissions: Callable[[], Awaitable[Sequence[str]]]
    send_test_mail: Callable[[str], Awaitable[MailResult]]


ERASURE_LABELS = (
    ("calls", mark("Calls, which stay without it")),
    ("raw_events", mark("Raw events")),
    ("notes", mark("Notes")),
    ("recordings", mark("Recordings in a directory on this machine")),
    ("deliveries", mark("Stored deliveries")),
    ("logged_attempts", mark("Attempts in the logs of destinations")),
    ("saved_searches", mark("Saved searches")),
    ("saved_questions", mark("Saved questions in SQL")),
    ("past_queries", mark("Past queries in SQL")),
    ("share_tokens", mark("Share tokens, which are revoked")),
    ("audit_entries", mark("Entries of the audit log")),
    ("directory_entries", mark("Names in the directory")),
    ("mails", mark("Mails, which are not sent")),
    ("report_schedules", mark("Scheduled reports, which are removed")),
    ("failure_texts", mark("Texts of issues, alarms and disabled destinations")),
)
"""The counts of an erasure in the order in which they are shown, and what they count."""


class Erase(Protocol):
    """Erases a number; `calls` confirms how many calls have it. Raises `UsageError`, `NotFound`."""

    async def __call__(self, number: str, *, calls: int | None = None) -> ErasureCounts: ...


class ErasureActions(msgspec.Struct, frozen=True, kw_only=True):
    """`preview` returns what has a number, `erase` erases it, `list_erasures` returns all, the latest first."""

    preview: Callable[[str], Awaitable[ErasureCounts]]
    erase: Erase
    list_erasures: Callable[[], Awaitable[list[Erasure]]]


class SendTest(Protocol):
    """Sends a test to the destination with that name, or a sample event. Raises `NotFound`."""

    async def __call__(self, name: str, *, is_sample: bool = False) -> DestinationTestResult: ...


class Preview(Protocol):
    """Returns the notification of a call, of the newest one that matches where no call id is given, in a payload format
    (None: that of the destination). Raises `NotFound`, `UsageError`.
    """

    async def __call__(
        self, name: str, call_id: str = "", payload_format: PayloadFormat | None = None
    ) -> NotificationPreview: ...


class DeliveryActions(msgspec.Struct, frozen=True, kw_only=True):
    """`send_test` sends a test to a destination, `preview` returns the notification of a call; `delivery_metrics` are
    by the number of the destination.
    """

    send_test: SendTest
    preview: Preview
    delivery_metrics: Callable[[], Mapping[int, AttemptMetrics]]
