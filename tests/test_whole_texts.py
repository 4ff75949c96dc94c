"""What is put into a translated text is a value or a name, never English words; and sentences are marked."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tools.catalogues import ENGLISH_SOURCES, SOURCES

TRANSLATORS: Final = frozenset({"_", "_n", "mark"})
ERROR_ENDINGS: Final = ("Check", "_check", "Error", "Failed", "NotFound", "NotAllowed", "Unavailable", "parse_error")
"""Of the names of what has sentences for readers."""

MACHINE_ERRORS: Final = frozenset({"ValueError", "TypeError", "RuntimeError", "OSError", "WebSocketError"})
"""They are for the log, or the other side of a protocol."""

SENTENCE_NAMES: Final = frozenset({"hint", "detail", "reason", "message"})
WORD_MEMBERS: Final = frozenset({"notifies_of", "role", "state"})
"""Members with words of the API: a sentence with one of them is written as a text for each."""

SENTENCE: Final = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
COMMAND: Final = re.compile(r"`[^`]*`|\b(onhook|chmod) .*|.*\w=\w.*")
CONJUNCTION: Final = re.compile(r"\s(or|and|to)\s")
PROBLEM_FORMAT: Final = "{file}:{line}: {text}"


def find_english_parts(source: str, file: str = "") -> Iterator[str]:
    """Yield the places of a module where English words reach a reader without the catalogue."""
    for node in ast.walk(ast.parse(source)):
        for value in _sentence_values(node):
            yield from (_problem(file, part) for part in _literals(value) if _is_sentence(part))
        for value in _inserted_values(node):
            yield from [_problem(file, value)] if _is_word_member(value) else []
            yield from (_problem(file, part) for part in _literals(value) if _is_sentence(part) or _is_unknown(part))


def _problem(file: str, node: ast.expr) -> str:
    return PROBLEM_FORMAT.format(file=file, line=node.lineno, text=ast.unparse(node))


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _sentence_values(node: ast.AST) -> list[ast.expr]:
    """Return the expressions whose texts are sentences for readers."""
    if isinstance(node, ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        return [node.value] if names & SENTENCE_NAMES else []
    if not isinstance(node, ast.Call):
        return []
    name = _name(node.func)
    values = [keyword.value for keyword in node.keywords if keyword.arg in SENTENCE_NAMES]
    return [*node.args, *values] if name.endswith(ERROR_ENDINGS) and name not in MACHINE_ERRORS else values


def _inserted_values(node: ast.AST) -> list[ast.expr]:
    """Return the values that are put into a text."""
    if isinstance(node, ast.Call) and _name(node.func) in TRANSLATORS:
        return [keyword.value for keyword in node.keywords]
    return []


def _literals(node: ast.expr) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Yield the texts that an expression has as its value, or joins, without those that are translated."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node
    elif isinstance(node, ast.IfExp):
        yield from (*_literals(node.body), *_literals(node.orelse))
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _literals(value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
        yield from _literals(node.func.value)


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)


def _is_sentence(node: ast.Constant | ast.JoinedStr) -> bool:
    text = COMMAND.sub("", _text(node))
    return bool(SENTENCE.search(text) or CONJUNCTION.search(text))


def _is_unknown(node: ast.Constant | ast.JoinedStr) -> bool:
    return _text(node) in ("unknown", "none", "never")


def _is_word_member(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in WORD_MEMBERS


def test_whole_texts_no_english_part_reaches_readers() -> None:
    problems: list[str] = []
    for path in sorted(SOURCES.rglob("*.py")):
        file = path.relative_to(SOURCES).as_posix()
        if not file.startswith(ENGLISH_SOURCES):
            problems += find_english_parts(path.read_text(encoding="utf-8"), file)
    assert problems == []


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ('Check("ERROR", "the disk is full")', True),
        ('Check("ERROR", _("the disk is full"), "onhook doctor")', False),
        ('hint = "try again" if is_late else _("wait")', True),
        ('UsageError(_("no such kind"), hint=_("use {kinds}", kinds=" or ".join(KINDS)))', True),
        ('UsageError(_("no such kind"), hint=_("use one of {kinds}", kinds=", ".join(KINDS)))', False),
        ('_("{name} is {state}", name=name, state=destination.state)', True),
        ('_("{process} of {node}", process=report.state.process, node=node)', False),
        ('_("from {gap}", gap=f"{since} to {until}")', True),
        ('_("firmware {version}", version=facts.firmware or "unknown")', True),
        ('_("for example {rule}", rule="reader numbers=1001")', False),
    ],
)
def test_find_english_parts_of_a_module(source: str, is_found: bool) -> None:
    assert bool(list(find_english_parts(source))) is is_found
