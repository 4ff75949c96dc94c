"""Commands in texts can be pasted: each name of a person in them is quoted for a shell, also one with a blank."""

import ast
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from onhook.appdb.delivery_rows import UNDELIVERED_MAX, Backlog
from onhook.delivery.issues import FAILING_ISSUE_AFTER, find_issues
from onhook.pbx.asterisk.trunks import describe_unknown_trunks
from tests.code_base import CodeBase, File, current_code_base
from tests.delivery.factories import destination

NAME = "O'Neil's head office; reboot"

COMMAND = re.compile(r"\bonhook [a-z][a-z-]* ")
PLACEHOLDER = re.compile(r"\{(\w+)[^}]*\}")
FUNCTION = "pbx_argument"
"""Of the contract of sync; what it returns is quoted."""

HARMLESS = {"port": "a number", "WEBHOOK_MENU": "a constant, behind the command", "options": "of a table of options"}


def find_unquoted(code: CodeBase) -> Iterator[str]:
    """Yield each value in a printed command that `shlex.quote` has not made."""
    for file in (file for file in code.sources if COMMAND.search(file.text)):
        quoted_names = set(find_quoted_names(file))
        for node in file.nodes:
            for value in find_values(node):
                names = {name.id for name in ast.walk(value) if isinstance(name, ast.Name)}
                if "shlex" not in names and not names <= quoted_names | HARMLESS.keys() | {FUNCTION}:
                    yield file.error(value.lineno, ast.unparse(value))


def find_values(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the values that a message or an f-string puts behind the begin of a command."""
    if isinstance(node, ast.JoinedStr):
        text = ""
        for part in node.values:
            if isinstance(part, ast.FormattedValue) and COMMAND.search(text):
                yield part.value
            text += part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "VALUE "
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "_n"):
        literals = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        for literal in literals:
            match = COMMAND.search(literal) if isinstance(literal, str) else None
            placeholders = PLACEHOLDER.findall(match.string[match.start() :]) if match else []
            yield from (keyword.value for keyword in node.keywords if keyword.arg in placeholders)


def find_quoted_names(file: File) -> Iterator[str]:
    """Yield the variables of a file whose values `shlex.quote` makes; pairs are assigned in order."""
    for node in file.nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                for name, value in zip(names, values, strict=False):
                    if isinstance(name, ast.Name) and "shlex.quote" in ast.unparse(value):
                        yield name.id


def test_printed_commands_have_quoted_names() -> None:
    assert list(find_unquoted(current_code_base())) == []


def test_argument_of_the_sync_is_quoted() -> None:
    """Each function of that name, but for the contract's."""
    bodies = [
        ast.unparse(node)
        for file in current_code_base().sources
        if f"def {FUNCTION}" in file.text
        for node in file.nodes
        if isinstance(node, ast.AsyncFunctionDef) and node.name == FUNCTION
    ]
    assert [body for body in bodies if "shlex.quote" not in body and not body.endswith("...")] == []
    assert len(bodies) > 1


@pytest.mark.parametrize(
    "source",
    [
        'text = _("run `onhook doctor {pbx}`", pbx=pbx.name)',
        'text = f"run `onhook pbx change {name} --zone ZONE`"',
        'text = _n("`onhook pbx remove {name}`", "{count}: `onhook destination retry {name}`", 2, name=name)',
    ],
)
def test_sweep_finds_a_name_that_is_not_quoted(source: str) -> None:
    assert len(list(find_unquoted(CodeBase({"onhook/cli/x.py": source})))) > 0
    quoted = source.replace("pbx=pbx.name", "pbx=shlex.quote(pbx.name)").replace("name=name", "name=shlex.quote(name)")
    quoted = quoted.replace("{name} --zone", "{shlex.quote(name)} --zone")
    assert list(find_unquoted(CodeBase({"onhook/cli/x.py": quoted}))) == []


def test_commands_of_issues_and_advice_name_what_they_are_about() -> None:
    """A shell reads each as a command with the name as one word."""
    now = datetime(2026, 4, 27, 11, 4, 36, tzinfo=UTC)
    full = Backlog(retrying=UNDELIVERED_MAX, failed=1)
    destinations = (
        destination(name=NAME, state="disabled", reason="410 Gone"),
        destination(name=NAME, failing_since=now - FAILING_ISSUE_AFTER),
    )
    hints = [issue.hint for spec in destinations for issue in find_issues(spec, full, now)]
    hints += describe_unknown_trunks(NAME)[1:]
    for hint in hints:
        assert NAME in shlex.split(hint.replace("`", " "))
    assert len(hints) > 5
