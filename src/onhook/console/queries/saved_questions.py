"""Saved questions and the history of queries, as a user may see and change them.

Invariants: another user's question that is not shared is not there. Sharing, and changing what is shared, needs the
permission `share`; an administrator changes every shared one, any other user what is their own.
"""

import logging

from litestar.exceptions import PermissionDeniedException

from onhook.appdb.saved_questions import SavedQuestion, question_not_found_error
from onhook.console.auth.access import Principal, get_principal
from onhook.console.state import AnyRequest, AppState
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _


def require_user(request: AnyRequest) -> Principal:
    """Return the user. Raises 403 for an open console, which has none."""
    principal = get_principal(request.scope)
    if principal is None or not principal.can_save:
        raise PermissionDeniedException(_("only a user has questions and a history: sign in"))
    return principal


async def find_question(app_state: AppState, principal: Principal, question_id: int) -> SavedQuestion:
    """Return a question that a user sees. Raises `NotFound`."""
    question = await app_state.appdb.saved_questions.get(question_id)
    if not question.is_shared and question.author != principal.author:
        raise question_not_found_error()
    return question


def may_change_question(principal: Principal, question: SavedQuestion) -> bool:
    """Return whether a user who sees a question may change and remove it."""
    if not question.is_shared:
        return True
    return principal.role == "administrator" or (principal.may("share") and question.author == principal.author)


async def change_question(
    app_state: AppState,
    principal: Principal,
    question_id: int,
    *,
    name: str | None = None,
    sql: str | None = None,
    is_shared: bool | None = None,
) -> SavedQuestion:
    """Change what is given. One that is no longer shared belongs to its author, or else to the user. Raises `NotFound`,
    `UsageError`, and 403.
    """
    question = await _find_changeable(app_state, principal, question_id)
    if is_shared and not principal.may("share"):
        raise PermissionDeniedException(_("sharing a question needs the permission: ask an administrator"))
    author = question.author or principal.author if is_shared is False else None
    return await app_state.appdb.saved_questions.change(
        question.question_id, name=name, sql=sql, is_shared=is_shared, author=author
    )


async def remove_question(app_state: AppState, principal: Principal, question_id: int) -> None:
    """Remove a question. Raises `NotFound`, and 403."""
    question = await _find_changeable(app_state, principal, question_id)
    await app_state.appdb.saved_questions.remove(question.question_id)


async def note_or_log_query(request: AnyRequest, app_state: AppState, sql: str) -> None:
    """Add a query to the history of a user in a browser; while that cannot be written, log that it is missing."""
    principal = get_principal(request.scope)
    if principal is None or principal.credential != "cookie":
        return
    try:
        await app_state.appdb.sql_history.add(sql, author=principal.author, now_us=app_state.clock.microseconds())
    except Unavailable as error:
        logging.getLogger("onhook.console").warning(
            "query without an entry in the history", extra={"error": str(error)}
        )


async def _find_changeable(app_state: AppState, principal: Principal, question_id: int) -> SavedQuestion:
    question = await find_question(app_state, principal, question_id)
    if not may_change_question(principal, question):
        raise PermissionDeniedException(_("this question is shared: save it under another name to change it"))
    return question
