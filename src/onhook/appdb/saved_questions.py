"""Questions in SQL that users have saved: a name and a query.

Invariants: a name is unique among those of its author, and among the shared ones. A question is a text: what its reader
may see is decided when it is run.
"""

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.pbxs import validate_name
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row, read_rows
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

QUESTIONS_MAX = 100
"""Of one author: a list that a person can still read."""

SQL_CHARACTERS_MAX = 20_000
"""As many as a query may have that is run."""

_COLUMNS = "question_id, name, author, is_shared, sql"
_SELECT = f"SELECT {_COLUMNS} FROM saved_questions ORDER BY name, author"


class SavedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A saved question. All users without limits see a shared one, its author alone any other. A shared one whose
    author was removed has none.
    """

    question_id: int
    name: str
    author: str
    is_shared: bool
    sql: str


class SavedQuestions:
    """Repository of saved questions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[SavedQuestion]:
        """Return all questions, by name."""
        return read_rows(await self._database.rows(_SELECT), _saved_question)

    async def visible(self, author: str) -> list[SavedQuestion]:
        """Return the questions of an author and the shared ones, by name."""
        return [question for question in await self.all() if question.is_shared or question.author == author]

    async def find_visible(self, name: str, author: str) -> SavedQuestion:
        """Return the question of this name, that of the author before a shared one. Raises `NotFound`."""
        wanted = name.strip().casefold()
        matches = [question for question in await self.visible(author) if question.name.casefold() == wanted]
        if not matches:
            raise NotFound(
                _("there is no question {name}", name=repr(name[:80])),
                hint=_("`onhook sql --list` and the page SQL list them"),
            )
        return min(matches, key=lambda question: question.author != author)

    async def get(self, question_id: int) -> SavedQuestion:
        """Return a question. Raises `NotFound`."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM saved_questions WHERE question_id = ?", (question_id,)
        )
        if not rows:
            raise question_not_found_error()
        return read_row(rows[0], _saved_question)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("saved_questions", await self._database.rows(_SELECT), _saved_question, name_columns=[1])

    @transactional
    async def add(self, name: str, sql: str, *, author: str) -> SavedQuestion:
        """Save a question that its author alone sees. Raises `UsageError`."""
        name, sql = validate_name(name), _validate_sql(sql)
        rows = await self._database.rows("SELECT name FROM saved_questions WHERE author = ?", (author,))
        if len(rows) >= QUESTIONS_MAX:
            raise UsageError(_("there are already {maximum} questions", maximum=QUESTIONS_MAX), hint=_("remove one"))
        try:
            await self._database.write(
                "INSERT INTO saved_questions (name, author, is_shared, sql) VALUES (?, ?, 0, ?)", (name, author, sql)
            )
        except ConstraintViolation:
            raise _name_error(name) from None
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM saved_questions WHERE author = ? AND name = ?", (author, name)
        )
        return read_row(rows[0], _saved_question)

    @transactional
    async def change(
        self,
        question_id: int,
        *,
        name: str | None = None,
        sql: str | None = None,
        is_shared: bool | None = None,
        author: str | None = None,
    ) -> SavedQuestion:
        """Change what is given of a question. Raises `NotFound`, `UsageError`."""
        question = await self.get(question_id)
        changed = msgspec.structs.replace(
            question,
            name=question.name if name is None else validate_name(name),
            sql=question.sql if sql is None else _validate_sql(sql),
            is_shared=question.is_shared if is_shared is None else is_shared,
            author=question.author if author is None else author,
        )
        try:
            await self._database.write(
                "UPDATE saved_questions SET name = ?, sql = ?, is_shared = ?, author = ? WHERE question_id = ?",
                (changed.name, changed.sql, changed.is_shared, changed.author, question_id),
            )
        except ConstraintViolation:
            raise _name_error(changed.name) from None
        return changed

    async def remove(self, question_id: int) -> None:
        """Remove a question. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM saved_questions WHERE question_id = ?", (question_id,)):
            raise question_not_found_error()


def question_not_found_error() -> NotFound:
    """Return the error for an unknown question, and for one that is not shared."""
    return NotFound(_("there is no such question"), hint=_("it may have been removed, or is no longer shared"))


def normalize_sql(sql: str) -> str:
    """Return a query as it is stored: a form sends each end of a line as CR LF.

    >>> normalize_sql("SELECT 1\\r\\nFROM calls\\r\\n")
    'SELECT 1\\nFROM calls'
    """
    return sql.replace("\r\n", "\n").strip()


def _validate_sql(sql: str) -> str:
    sql = normalize_sql(sql)
    if not sql or len(sql) > SQL_CHARACTERS_MAX:
        raise UsageError(
            _("a question has a query of 1 to {maximum} characters", maximum=SQL_CHARACTERS_MAX), parameter="sql"
        )
    return sql


def _name_error(name: str) -> UsageError:
    return UsageError(
        _("there is already a question named {name}", name=repr(name)),
        parameter="name",
        hint=_("choose another name, or change that one"),
    )


def _saved_question(row: Row) -> SavedQuestion:
    question_id, name, author, is_shared, sql = row
    return SavedQuestion(question_id=question_id, name=name, author=author, is_shared=bool(is_shared), sql=sql)
