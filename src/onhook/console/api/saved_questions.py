"""`/api/v1/sql/questions`: saved questions in SQL; `/api/v1/sql/history`: the queries that a user has run."""

from typing import Annotated

import msgspec
from litestar import delete, get, patch, post
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.saved_questions import SavedQuestion
from onhook.appdb.sql_history import PastQuery
from onhook.console.auth.access import OWN_QUESTIONS
from onhook.console.parameters import SEQ_MAX, Label
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.saved_questions import change_question as change
from onhook.console.queries.saved_questions import find_question, require_user
from onhook.console.queries.saved_questions import remove_question as remove
from onhook.console.state import AnyRequest, AppStateDep
from onhook.store.sql.contract import SQL_CHARACTERS_MAX

QuestionId = Annotated[int, PathParameter(description="`question_id` of a question", ge=1, le=SEQ_MAX)]
Query = Annotated[str, msgspec.Meta(min_length=1, max_length=SQL_CHARACTERS_MAX)]


class NewQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question to save: a name, and one SELECT."""

    name: Label
    sql: Query


class QuestionChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a question; with `is_shared` all users see it who may use SQL."""

    name: Label | None = None
    sql: Query | None = None
    is_shared: bool | None = None


class QuestionList(msgspec.Struct, frozen=True):
    """Questions by name: those of the user or token, and the shared ones."""

    data: list[SavedQuestion]
    next: None = None


class PastQueryList(msgspec.Struct, frozen=True):
    """Queries of the user, the latest first."""

    data: list[PastQuery]
    next: None = None


@get("/sql/questions", summary="List saved questions", tags=["calls"], responses=PROBLEMS)
async def list_questions(request: AnyRequest, app_state: AppStateDep) -> QuestionList:
    """List the saved questions of the user or token, and the shared ones."""
    return QuestionList(await app_state.appdb.saved_questions.visible(require_user(request).author))


@post("/sql/questions", opt=OWN_QUESTIONS, summary="Save a question", tags=["calls"], responses=PROBLEMS)
async def save_question(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[NewQuestion, BodyKwarg()]
) -> SavedQuestion:
    """Save a question under an unused name. No other user sees it until it is shared."""
    return await app_state.appdb.saved_questions.add(data.name, data.sql, author=require_user(request).author)


@get("/sql/questions/{question_id:int}", summary="Read a saved question", tags=["calls"], responses=PROBLEMS)
async def read_question(request: AnyRequest, app_state: AppStateDep, question_id: QuestionId) -> SavedQuestion:
    """Read a saved question of the user or token, or a shared one."""
    return await find_question(app_state, require_user(request), question_id)


@patch(
    "/sql/questions/{question_id:int}",
    opt=OWN_QUESTIONS,
    summary="Change a saved question",
    tags=["calls"],
    responses=PROBLEMS,
)
async def change_question(
    request: AnyRequest, app_state: AppStateDep, question_id: QuestionId, data: Annotated[QuestionChanges, BodyKwarg()]
) -> SavedQuestion:
    """Rename a question, change its query, or share it, which needs the permission `share`."""
    return await change(
        app_state, require_user(request), question_id, name=data.name, sql=data.sql, is_shared=data.is_shared
    )


@delete(
    "/sql/questions/{question_id:int}",
    opt=OWN_QUESTIONS,
    summary="Remove a saved question",
    tags=["calls"],
    responses=PROBLEMS,
)
async def remove_question(request: AnyRequest, app_state: AppStateDep, question_id: QuestionId) -> None:
    """Remove a question; a shared one needs the permission `share`."""
    await remove(app_state, require_user(request), question_id)


@get("/sql/history", summary="List past queries", tags=["calls"], responses=PROBLEMS)
async def list_history(request: AnyRequest, app_state: AppStateDep) -> PastQueryList:
    """List the queries that the user has run on the page SQL, each once, the latest first."""
    return PastQueryList(await app_state.appdb.sql_history.of_author(require_user(request).author))


@delete("/sql/history", opt=OWN_QUESTIONS, summary="Delete past queries", tags=["calls"], responses=PROBLEMS)
async def clear_history(request: AnyRequest, app_state: AppStateDep) -> None:
    """Delete the history of the user."""
    await app_state.appdb.sql_history.clear(require_user(request).author)


ROUTES = (
    *(list_questions, save_question, read_question, change_question, remove_question),
    *(list_history, clear_history),
)
