"""`GET /api/v1/issues`: what needs a person: destinations, alarms, gaps, checks that are not `OK`."""

from typing import Annotated, Literal

import msgspec
from litestar import get
from litestar.params import QueryParameter

from onhook.appdb.issues import StoredIssue
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep

IssueState = Annotated[
    Literal["open", "all"], QueryParameter(name="state", description="`open`, or `all` with those that have ended")
]


class IssueList(msgspec.Struct, frozen=True):
    """Issues, open ones first, then the latest."""

    data: list[StoredIssue]
    next: None = None


@get("/issues", summary="List issues", tags=["health"], responses=PROBLEMS)
async def list_issues(app_state: AppStateDep, wanted_state: IssueState = "open") -> IssueList:
    """List what needs a person, each with what to do. A check that fails is an issue after five minutes."""
    issues = await app_state.appdb.issues.all()
    return IssueList([issue for issue in issues if wanted_state == "all" or issue.ended_at is None])


ROUTES = (list_issues,)
