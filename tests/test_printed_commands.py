"""Commands in user texts can be pasted: whatever is put into one is quoted for a shell."""

import ast
import re
from collections.abc import Iterator

from tests.code_base import current_code_base

COMMAND = re.compile(r"onhook [a-z][^`,]*")
PLACEHOLDER = re.compile(r"\{(\w+)[^}]*\}")
NUMBERS = frozenset({"seq", "port", "count"})
"""Placeholders that are whole numbers."""


def _unquoted_placeholders(call: ast.Call) -> Iterator[str]:
    """Yield the placeholders in commands of a translated text whose value is not quoted."""
    texts = [node.value for node in call.args if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    values = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    for command in COMMAND.findall(" ".join(texts)):
        for name in PLACEHOLDER.findall(command):
            value = values.get(name, "")
            if name not in NUMBERS and "shlex.quote(" not in value and not value.endswith(("_argument", "quoted_name")):
                yield name


def test_printed_commands_have_quoted_values() -> None:
    """A name with a blank would be two arguments, and one with a semicolon two commands."""
    errors = [
        file.error(node.lineno, f"{{{name}}} in a command is not quoted: use shlex.quote")
        for file in current_code_base().sources
        for node in file.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "_n")
        for name in _unquoted_placeholders(node)
    ]
    assert errors == []
