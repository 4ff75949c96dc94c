"""`/sql/questions/…`, `/sql/history/clear`: save, change, share and remove questions in SQL: forms of the page SQL."""

from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.response import Redirect

from onhook.console.auth.access import OWN_QUESTIONS, SHARES_QUESTIONS
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX
from onhook.console.pages.sql import render_query
from onhook.console.parameters import ReaderZone
from onhook.console.queries.saved_questions import change_question as change
from onhook.console.queries.saved_questions import remove_question as remove
from onhook.console.queries.saved_questions import require_user
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _


class SaveQuestionForm(msgspec.Struct, frozen=True):
    """Content of the form below a query: a name for it."""

    name: str = ""
    sql: str = ""


class ChangeQuestionForm(msgspec.Struct, frozen=True):
    """Content of the forms of a question: another name, another query, or sharing; `shared` is `yes` or empty."""

    question_id: int = 0
    name: str = ""
    sql: str = ""
    shared: str = ""


@post("/sql/questions", opt=OWN_QUESTIONS, include_in_schema=False, status_code=200)
async def save_question(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[SaveQuestionForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Save a question of the user, and return to it."""
    author = require_user(request).author
    try:
        question = await app_state.appdb.saved_questions.add(data.name, data.sql, author=author)
    except OnhookError as error:
        return await render_query(request, app_state, reader_zone, data.sql, save_error=str(error), name=data.name)
    return Redirect(url("/sql", question=question.question_id), status_code=303)


@post("/sql/questions/change", opt=OWN_QUESTIONS, include_in_schema=False, status_code=200)
async def change_question(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[ChangeQuestionForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Rename a question, or replace its query; an empty text stays as it is."""
    principal = require_user(request)
    try:
        question = await change(
            app_state, principal, data.question_id, name=data.name.strip() or None, sql=data.sql.strip() or None
        )
    except OnhookError as error:
        return await render_query(request, app_state, reader_zone, data.sql, save_error=str(error))
    if data.sql:
        return Redirect(url("/sql", question=question.question_id), status_code=303)
    return _redirect(_('The question is now named "{name}".', name=question.name))


@post("/sql/questions/share", opt=SHARES_QUESTIONS, include_in_schema=False, status_code=200)
async def share_question(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[ChangeQuestionForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Show a question to all users who may use SQL, or to its author alone."""
    principal, is_shared = require_user(request), data.shared == "yes"
    try:
        question = await change(app_state, principal, data.question_id, is_shared=is_shared)
    except OnhookError as error:
        return await render_query(request, app_state, reader_zone, "", save_error=str(error))
    if is_shared:
        return _redirect(_('"{name}" is shared with all users who may use SQL.', name=question.name))
    return _redirect(_('"{name}" is no longer shared.', name=question.name))


@post("/sql/questions/remove", opt=OWN_QUESTIONS, include_in_schema=False, status_code=200)
async def remove_question(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[ChangeQuestionForm, FORM_BODY]
) -> Redirect:
    """Remove a question."""
    await remove(app_state, require_user(request), data.question_id)
    return _redirect(_("Question removed."))


@post("/sql/history/clear", opt=OWN_QUESTIONS, include_in_schema=False, status_code=200)
async def clear_history(request: AnyRequest, app_state: AppStateDep) -> Redirect:
    """Delete the history of the user."""
    await app_state.appdb.sql_history.clear(require_user(request).author)
    return _redirect(_("History deleted."))


ROUTES = (save_question, change_question, share_question, remove_question, clear_history)


def _redirect(message: str) -> Redirect:
    return Redirect(url("/sql", message=message[:MESSAGE_CHARACTERS_MAX]), status_code=303)
