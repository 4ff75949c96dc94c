"""Check names and texts against the vocabulary of docs/glossary.md, and public class names for uniqueness.

Run by `make check`. Words are searched in prose (documents, templates, comments, docstrings, strings) and in the parts
of identifiers; whole identifiers have a list of their own. An exception names the file and has a reason.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = ("src", "tests", "bench", "docs", "tools", ".ci")
SUFFIXES: Final = {".py", ".md", ".html", ".js", ".css", ".toml", ".sql", ".txt", ".in"}
LAST_COMMIT_WITH_MERGES: Final = "fac98bd"

# Word, and what to write instead. Inflected forms are listed, so that `owner` and `flower` pass.
WORDS: Final[Mapping[str, str]] = {
    "knock": "request",
    "knocks": "sends requests",
    "knocked": "sent a request",
    "knocking": "sending requests",
    "stranger": "unknown PBX",
    "strangers": "unknown PBXs",
    "house": "installation, code base",
    "houses": "installations",
    "door": "receiver, registry",
    "doors": "receivers",
    "caretaker": "PBX sync",
    "caretakers": "PBX syncs",
    "courier": "dispatcher",
    "lane": "worker",
    "lanes": "workers",
    "plight": "issue",
    "plights": "issues",
    "wish": "request, spec",
    "wishes": "requests, spec",
    "wished": "requested",
    "owe": "have pending",
    "owes": "has pending",
    "owed": "pending",
    "owing": "pending",
    "parked": "failed",
    "taken": "accepted, used",
    "told": "notified, passed",
    "tell": "notify, log",
    "tells": "notifies, shows",
    "telling": "notifying",
    "heard": "connected, received",
    "vouched": "signed, verified",
    "nobody": "no user, no program",
    "somebody": "a user, a process",
    "whoever": "the caller, the process that",
    "manner": "behaviour, way",
    "manners": "behaviours",
    "mischief": "fault",
    "rubbish": "invalid data",
    "room": "package, space",
    "rooms": "packages, spaces",
}

PHRASES: Final[Mapping[str, str]] = {
    r"made[- ]up": "simulated",
    r"in vain": "rejected",
    r"surely complete": "verified complete",
    r"at the door": "at the receiver",
    r"takes? nothing": "receives nothing, reads nothing",
    r"ask(?:s|ed) to wait": "requests a delay",
    r"no more\b(?![^.]* than)": "no longer",
}

# Identifiers that say nothing: a name has a noun that carries the type.
IDENTIFIERS: Final = frozenset(
    {"asked", "told", "said", "found", "kept", "one", "at", "chance", "shown"}
    | {"what", "who", "how", "again", "others", "many", "bad", "known", "seen", "listed", "written", "took"}
)


class Allowed(NamedTuple):
    """A word that is the right one in some files: a regular expression for paths, and the reason."""

    path: str
    words: frozenset[str]
    reason: str


ALLOWED: Final = (
    Allowed(r"tools/language\.py|tests/test_language\.py", frozenset({"*"}), "the list itself and its test"),
    Allowed(r".*/pbx/asterisk/.*|docs/asterisk\.md", frozenset({"parked"}), "call parking, a feature of Asterisk"),
    Allowed(r"src/onhook/pbx/yeastar/headings\.py", frozenset({"*"}), "headings in other languages"),
    Allowed(r"src/onhook/sync/cdr_files\.py", frozenset({"tell"}), "the method of a file"),
    Allowed(
        r".*/migrations/.*\.sql|tests/(appdb|ledger|store)/test_migrations\.py|tests/data_directories/.*",
        frozenset({"*"}),
        "names in databases of earlier versions",
    ),
    Allowed(r"tests/test_upgrade\.py", frozenset({"parked"}), "a state in data directories of earlier versions"),
    Allowed(
        r".*/(test_)?clickhouse(_tables)?\.(py|md)|docs/(decisions|destinations)\.md|.*/destinations/(kinds|service_fields)\.py",
        frozenset({"house"}),
        "ClickHouse, a database",
    ),
    Allowed(r".*/vendor/.*|requirements/.*", frozenset({"*"}), "files of other projects"),
    Allowed(
        r"CHANGELOG\.md",
        frozenset({"door", "heard", "manner", "owed", "parked", "plights", "taken", "wish"}),
        "old names in the tables of renamed commands, members and metrics",
    ),
)


class Violation(NamedTuple):
    """A place and a sentence about it."""

    path: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.sentence}"


def check_text(path: str, text: str) -> Iterator[Violation]:
    """Yield banned words and phrases in prose. `text` is a whole file that is no Python."""
    for number, line in enumerate(text.splitlines(), 1):
        yield from check_line(path, number, line)


def check_line(path: str, number: int, line: str) -> Iterator[Violation]:
    """Yield banned words and phrases of one line."""
    for word in re.findall(r"[A-Za-z]+", split_identifiers(line)):
        if word.lower() in WORDS and not is_allowed(path, word.lower()):
            yield Violation(path, number, f"`{word}`: write {WORDS[word.lower()]}.")
    for phrase, replacement in PHRASES.items():
        if re.search(rf"\b{phrase}\b", line, re.IGNORECASE) and not is_allowed(path, phrase):
            yield Violation(path, number, f"`{phrase}`: write {replacement}.")


def split_identifiers(line: str) -> str:
    """Separate the parts of identifiers.

    >>> split_identifiers("SettingsDoor, is_owed")
    'Settings Door, is owed'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line).replace("_", " ")


def check_identifiers(path: str, text: str) -> Iterator[Violation]:
    """Yield whole identifiers that say nothing. `text` is Python."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = token.string.lstrip("_")
        if token.type == tokenize.NAME and name in IDENTIFIERS and not is_allowed(path, name):
            yield Violation(path, token.start[0], f"the name `{token.string}` says nothing: use a noun.")


def is_allowed(path: str, word: str) -> bool:
    """Return whether an exception allows the word in this file."""
    return any(re.fullmatch(entry.path, path) and entry.words & {word, "*"} for entry in ALLOWED)


def check_class_names(sources: Mapping[str, str]) -> Iterator[Violation]:
    """Yield public classes whose name is used twice. `sources` are the texts of `src` by path."""
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for path, text in sources.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append((path, node.lineno))
    for name, uses in sorted(places.items()):
        for path, line in uses[1:]:
            yield Violation(path, line, f"the class name `{name}` is used in {uses[0][0]} too: give it another one.")


def check_merges(log: Sequence[str]) -> Iterator[Violation]:
    """Yield merge commits; `log` has a line for each."""
    for line in log:
        yield Violation("git", 0, f"{line} is a merge commit: rebase.")


def check_repository() -> Iterator[Violation]:
    """Yield all violations in the working tree and the history."""
    texts = read_files()
    for path, text in texts.items():
        yield from check_text(path, text)
        if path.endswith(".py"):
            yield from check_identifiers(path, text)
    yield from check_class_names({path: text for path, text in texts.items() if re.match(r"src/.*\.py$", path)})
    yield from check_merges(read_merges())


def read_files() -> dict[str, str]:
    """Return the texts of all checked files by their path from the root."""
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    paths += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = {path.relative_to(ROOT).as_posix(): path for path in sorted(paths)}
    return {
        name: path.read_text("utf-8")
        for name, path in named.items()
        if path.suffix in SUFFIXES or path.name in ("Makefile", "run")
    }


def read_merges() -> list[str]:
    """Return the merge commits after the last one that is allowed; none in a shallow clone or without git."""
    command = ["git", "log", "--merges", "--format=%h %s", f"{LAST_COMMIT_WITH_MERGES}..HEAD"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return result.stdout.splitlines() if result.returncode == 0 else []


def main() -> int:
    """Print all violations; return the exit code."""
    violations = list(check_repository())
    for violation in violations:
        sys.stdout.write(f"{violation}\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
