"""Open issues of this installation; alarms, destinations and rejected requests have sections of their own on pages."""

from onhook.appdb.appdb import AppDb
from onhook.appdb.issues import CHECK_KIND_PREFIX, StoredIssue


async def list_open_checks(appdb: AppDb) -> list[StoredIssue]:
    """Return the open issues that are checks of this installation, the latest first."""
    return [issue for issue in await appdb.issues.open_issues() if issue.kind.startswith(CHECK_KIND_PREFIX)]
