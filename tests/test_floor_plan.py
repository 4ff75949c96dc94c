"""The floor plan: who may import whom, where each power lives, and how large anything may grow.

The table below is the one in ARCHITECTURE.md. A new room is registered here, or the first test fails.
Each check is a function from the house (all our files) to sentences that say where, what, and what to do.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

# Room: what it may import of ours. `pbx.dialect` means that module and nothing else of the room: its contract.
MAY_IMPORT: Final = {
    "errors": "",
    "clock": "errors",
    "signing": "errors",
    "cdr": "errors",
    "config": "cdr errors",
    "pbx": "cdr errors",
    "ledger": "errors",
    "store": "cdr errors",
    "settings": "cdr errors",
    "intake": "pbx.dialect pbx.link pbx.conversation pbx.archive ledger cdr errors clock signing",
    "projector": "pbx.dialect ledger store cdr errors clock",
    "sinks": "pbx.dialect cdr errors signing",
    "delivery": "sinks.sink store.store settings cdr errors clock",
    "exchange": "pbx store settings cdr errors clock",
    "console": "store settings ledger delivery.standing delivery.plight delivery.figures cdr errors clock config"
    " signing",
    "simulator": "pbx cdr errors clock signing",
    "hub": "all but cli",
    "cli": "all",
}

# Module: who alone may import it. Everybody else knows the contract beside it.
ENGINES: Final = {
    "onhook.ledger.sqlite": {"ledger", "hub"},
    "onhook.store.duckdb": {"store", "hub"},
}

# Power: the rooms that have it.
POWERS: Final = {
    "os.environ": {"config"},
    "os.getenv": {"config"},
    "time.time": {"clock"},
    "time.time_ns": {"clock"},
    "datetime.datetime.now": {"clock"},
    "datetime.datetime.utcnow": {"clock"},
    "datetime.datetime.today": {"clock"},
    "datetime.date.today": {"clock"},
    "sqlite3": {"intake", "ledger", "settings", "store"},  # intake reads files in which PBXs keep their CDRs
    "duckdb": {"ledger", "settings", "store"},
}

DIALECTS_ROOM: Final = "pbx"  # its folders never meet
DOOR_PLATE: Final = ("Job:", "May import:", "Never:")
FILE_LINES_MAX: Final = 500  # past that nobody reads a file in one go
FUNCTION_LINES_MAX: Final = 70  # a screen

ROOT: Final = Path(__file__).parents[1]
Function = ast.FunctionDef | ast.AsyncFunctionDef


# ---------------------------------------------------------------- the house


@dataclass(frozen=True)
class Import:
    """One module of ours or of others that a file imports, and the line where it does."""

    name: str
    line: int


@dataclass(frozen=True)
class File:
    """One Python file: `path` as under `src`, or `tests/...`."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the tree; walking it is what takes the time, so it is done once for all checks."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_door_plate(self) -> bool:
        return self.path.endswith("/__init__.py")

    @property
    def package(self) -> str:
        return self.module if self.is_door_plate else self.module.rpartition(".")[0]

    @property
    def room(self) -> str:
        return room_of(self.module)

    def at(self, line: int, sentence: str) -> str:
        return f"{self.path}:{line}: {sentence}"


class House:
    """All files, and the modules of ours that they make."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.files = [File(path, text) for path, text in sorted(texts.items())]
        self.rooms = [file for file in self.files if file.path.startswith("onhook/")]
        self.modules = {file.module for file in self.rooms}

    def imports(self, file: File) -> Iterator[Import]:
        """Every import of `file`, wherever it stands, by the full name of the module that is meant."""
        for node in file.nodes:
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = absolute(node, file.package)
                for alias in node.names:
                    name = f"{source}.{alias.name}"
                    yield Import(name if name in self.modules else source, node.lineno)

    def imports_of_ours(self, file: File) -> Iterator[Import]:
        return (found for found in self.imports(file) if found.name.startswith("onhook."))


def room_of(module: str) -> str:
    """The room of `onhook.cdr.record` is `cdr`; of `onhook` itself, nothing."""
    return module.split(".")[1] if "." in module else ""


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that `from ... import` names, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


@cache
def house_as_it_stands() -> House:
    """Read once: the checks change nothing."""
    roots = {ROOT / "src" / "onhook": ROOT / "src", ROOT / "tests": ROOT}
    paths = {path: base for folder, base in roots.items() for path in folder.rglob("*.py")}
    return House({path.relative_to(base).as_posix(): path.read_text("utf-8") for path, base in paths.items()})


# ---------------------------------------------------------------- the checks

Check = Callable[[House], Iterator[str]]


def rooms_import_what_the_table_says(house: House) -> Iterator[str]:
    for file in house.rooms:
        if file.room not in MAY_IMPORT and file.room:
            yield file.at(
                1, f"nobody knows the room `{file.room}`: register it in MAY_IMPORT in tests/test_floor_plan.py."
            )
            continue
        for found in house.imports_of_ours(file):
            if room_of(found.name) != file.room and not may_import(file.room, found.name):
                yield file.at(
                    found.line,
                    f"`{file.room}` may not import `{found.name}`, only {MAY_IMPORT.get(file.room) or 'nothing'}: "
                    "have it handed in by `hub`, or move the rule to the room that owns it.",
                )


def may_import(room: str, module: str) -> bool:
    allowed, target = MAY_IMPORT.get(room, ""), room_of(module)
    if allowed.startswith("all"):
        return target in MAY_IMPORT and (target != "cli" or allowed == "all")
    return any(f"{module}.".startswith(f"onhook.{entry}.") for entry in allowed.split())


def engines_are_known_only_at_home(house: House) -> Iterator[str]:
    for file in house.rooms:
        for found in house.imports_of_ours(file):
            if file.room not in ENGINES.get(found.name, {file.room}):
                yield file.at(
                    found.line,
                    f"only {listed(ENGINES[found.name])} may know `{found.name}`: use the contract beside it.",
                )


def dialects_never_meet(house: House) -> Iterator[str]:
    for file in house.rooms:
        home = dialect_of(file.module, house)
        for found in house.imports_of_ours(file):
            other = dialect_of(found.name, house)
            if home and other and home != other:
                yield file.at(
                    found.line,
                    f"`{home}` may not import its sibling `{other}`: what both need belongs to `pbx/` or `cdr`.",
                )


def dialect_of(module: str, house: House) -> str:
    """`onhook.pbx.yeastar.payload` belongs to the dialect `onhook.pbx.yeastar`; a module of `pbx/` itself to none."""
    parts = module.split(".")
    folder = ".".join(parts[:3])
    is_folder = any(name.startswith(f"{folder}.") for name in house.modules)
    return folder if len(parts) > 2 and parts[1] == DIALECTS_ROOM and is_folder else ""


def imports_make_no_circle(house: House) -> Iterator[str]:
    graph = {file.module: {found.name for found in house.imports_of_ours(file)} & house.modules for file in house.rooms}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        first = next(file for file in house.rooms if file.module == circle[0])
        line = next(found.line for found in house.imports_of_ours(first) if found.name == circle[1])
        yield first.at(line, f"imports go in a circle, {' → '.join(circle)}: move what they share to a third module.")


def imports_stand_at_the_top(house: House) -> Iterator[str]:
    for file in house.rooms:
        for function in functions(file):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield file.at(node.lineno, f"`{function.name}` imports inside itself: move the import to the top.")


def rooms_have_a_door_plate(house: House) -> Iterator[str]:
    for package in sorted({file.package for file in house.rooms} - {f.module for f in house.rooms if f.is_door_plate}):
        yield f"{package.replace('.', '/')}/__init__.py:1: is missing: write the door plate ({', '.join(DOOR_PLATE)})."
    for file in house.rooms:
        if file.is_door_plate:
            yield from wrong_door_plate(file)


def wrong_door_plate(file: File) -> Iterator[str]:
    lines = (ast.get_docstring(file.tree) or "").splitlines()
    if [word for line in lines for word in DOOR_PLATE if line.startswith(word)] != list(DOOR_PLATE):
        yield file.at(1, f"the door plate needs three lines that begin with {', '.join(DOOR_PLATE)} in this order.")
    for node in file.tree.body[1:]:
        yield file.at(node.lineno, "a door plate holds no code: move it to a module of the room.")


def door_plates_agree_with_the_table(house: House) -> Iterator[str]:
    for file in house.rooms:
        allowed = MAY_IMPORT.get(file.room, "all")
        if not file.is_door_plate or file.module.count(".") != 1 or allowed.startswith("all"):
            continue
        said = plate_line(file, "May import:")
        expected = {entry.partition(".")[0] for entry in allowed.split()}
        if set(re.findall(r"\w+", said)) & MAY_IMPORT.keys() != expected:
            yield file.at(1, f"the door plate says `{said}`, and the table {listed(expected)}: make them agree.")


def plate_line(file: File, word: str) -> str:
    lines = (ast.get_docstring(file.tree) or "").splitlines()
    return next((line.removeprefix(word).strip() for line in lines if line.startswith(word)), "")


def powers_live_in_one_place(house: House) -> Iterator[str]:
    for file in house.rooms:
        for used in names_used(file):
            owners = POWERS.get(used.name, {file.room})
            if file.room not in owners:
                yield file.at(used.line, f"`{used.name}` belongs to {listed(owners)}: ask to be handed what it gives.")


def names_used(file: File) -> Iterator[Import]:
    """Full dotted names of what a file imports, and of every `a.b.c` whose `a` is imported."""
    known: dict[str, str] = {}
    for node in file.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield Import(alias.name.partition(".")[0], node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield Import(node.module.partition(".")[0], node.lineno)
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield Import(f"{node.module}.{alias.name}", node.lineno)
    for node in file.nodes:
        if isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            if first in known:
                yield Import(f"{known[first]}.{rest}", node.lineno)


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text, and nothing for what is no such name."""
    if isinstance(node, ast.Name):
        return node.id
    if not isinstance(node, ast.Attribute):
        return ""
    before = dotted(node.value)
    return f"{before}.{node.attr}" if before else ""


def files_and_functions_stay_small(house: House) -> Iterator[str]:
    for file in house.files:
        lines = len(file.text.splitlines())
        if lines > FILE_LINES_MAX:
            yield file.at(lines, f"{lines} lines, {FILE_LINES_MAX} is the wall: split the file by what it is about.")
        for function in functions(file):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield file.at(
                    function.lineno,
                    f"`{function.name}` has {length} lines, {FUNCTION_LINES_MAX} is the wall: the parent decides, "
                    "the leaves compute.",
                )


def only_the_command_line_prints(house: House) -> Iterator[str]:
    for file in house.rooms:
        if file.room == "cli":
            continue
        for node in file.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield file.at(node.lineno, "only `cli` prints: return the text, or log it.")


def modules_say_what_they_are(house: House) -> Iterator[str]:
    for file in house.files:
        if not ast.get_docstring(file.tree):
            yield file.at(1, "a module begins with a docstring that says what it is: write it.")


def every_test_states_its_claim(house: House) -> Iterator[str]:
    for file in house.files:
        for function in functions(file):
            if file.path.startswith("tests/") and function.name.startswith("test_") and not ast.get_docstring(function):
                yield file.at(function.lineno, f"`{function.name}` states no claim: write it as the test's docstring.")


def functions(file: File) -> Iterator[Function]:
    return (node for node in file.nodes if isinstance(node, Function))


def listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"


# ---------------------------------------------------------------- the tests

CHECKS: Final[list[Check]] = [
    rooms_import_what_the_table_says,
    engines_are_known_only_at_home,
    dialects_never_meet,
    imports_make_no_circle,
    imports_stand_at_the_top,
    rooms_have_a_door_plate,
    door_plates_agree_with_the_table,
    powers_live_in_one_place,
    files_and_functions_stay_small,
    only_the_command_line_prints,
    modules_say_what_they_are,
    every_test_states_its_claim,
]

PLATE: Final = '"""Job: a.\n\nMay import: errors.\nNever: b.\n"""\n'
CDR: Final = "onhook/cdr/record.py"

# Check, the smallest house that breaks it, and what it must say.
BAD: Final[list[tuple[Check, dict[str, str], str]]] = [
    (rooms_import_what_the_table_says, {"onhook/attic.py": ""}, "onhook/attic.py:1: nobody knows the room `attic`"),
    (rooms_import_what_the_table_says, {CDR: "\nimport onhook.store.store"}, f"{CDR}:2: `cdr` may not import"),
    (rooms_import_what_the_table_says, {CDR: "from onhook import clock", "onhook/clock.py": ""}, "`onhook.clock`"),
    (rooms_import_what_the_table_says, {CDR: "from ..clock import now"}, "`onhook.clock`"),
    (rooms_import_what_the_table_says, {CDR: "def f():\n import onhook.clock"}, f"{CDR}:2: "),
    (
        rooms_import_what_the_table_says,
        {"onhook/intake/w.py": "from onhook.settings.s import S"},
        "`onhook.settings.s`",
    ),
    (rooms_import_what_the_table_says, {"onhook/intake/w.py": "from onhook.store.store import S"}, "`onhook.store"),
    (
        rooms_import_what_the_table_says,
        {"onhook/intake/w.py": "from onhook.pbx.yeastar.payload import p"},
        "`onhook.pbx.",
    ),
    (rooms_import_what_the_table_says, {"onhook/console/p.py": "from onhook.hub.serve import s"}, "`onhook.hub.serve`"),
    (
        rooms_import_what_the_table_says,
        {"onhook/hub/serve.py": "from onhook.cli.main import main"},
        "`onhook.cli.main`",
    ),
    (
        engines_are_known_only_at_home,
        {"onhook/cli/calls.py": "import onhook.store.duckdb"},
        "may know `onhook.store.duckdb`",
    ),
    (
        engines_are_known_only_at_home,
        {"onhook/intake/a.py": "from onhook.ledger.sqlite import A"},
        "onhook/intake/a.py:1: ",
    ),
    (
        dialects_never_meet,
        {"onhook/pbx/asterisk/cdr.py": "", "onhook/pbx/yeastar/payload.py": "from onhook.pbx.asterisk.cdr import x"},
        "`onhook.pbx.yeastar` may not import its sibling `onhook.pbx.asterisk`",
    ),
    (
        imports_make_no_circle,
        {"onhook/cdr/a.py": "import onhook.cdr.b", "onhook/cdr/b.py": "from onhook.cdr import a"},
        "imports go in a circle, onhook.cdr.",
    ),
    (imports_stand_at_the_top, {CDR: "async def f():\n    import os"}, f"{CDR}:2: `f` imports inside itself"),
    (rooms_have_a_door_plate, {CDR: ""}, "onhook/cdr/__init__.py:1: is missing"),
    (rooms_have_a_door_plate, {"onhook/cdr/__init__.py": '"""Job: a."""'}, "the door plate needs three lines"),
    (rooms_have_a_door_plate, {"onhook/cdr/__init__.py": PLATE + "A = 1"}, "__init__.py:6: a door plate holds no code"),
    (
        door_plates_agree_with_the_table,
        {"onhook/ledger/__init__.py": PLATE.replace("errors", "cdr")},
        "make them agree",
    ),
    (powers_live_in_one_place, {CDR: "import os\nos.environ['A']"}, f"{CDR}:2: `os.environ` belongs to `config`"),
    (powers_live_in_one_place, {CDR: "from os import getenv"}, "`os.getenv`"),
    (powers_live_in_one_place, {CDR: "import time as t\nt.time()"}, f"{CDR}:2: `time.time`"),
    (powers_live_in_one_place, {CDR: "import time\nf(clock=time.time_ns)"}, "`time.time_ns`"),
    (
        powers_live_in_one_place,
        {CDR: "from datetime import UTC, datetime\ndatetime.now(UTC)"},
        "`datetime.datetime.now`",
    ),
    (powers_live_in_one_place, {CDR: "import datetime\ndatetime.datetime.utcnow()"}, "`datetime.datetime.utcnow`"),
    (
        powers_live_in_one_place,
        {"onhook/console/api.py": "import sqlite3"},
        "`sqlite3` belongs to `intake`, `ledger`",
    ),
    (powers_live_in_one_place, {"onhook/console/api.py": "from duckdb import connect"}, "`duckdb` belongs to"),
    (files_and_functions_stay_small, {"tests/test_a.py": "\n" * 501}, "tests/test_a.py:501: 501 lines"),
    (files_and_functions_stay_small, {CDR: "def f():\n" + " 1\n" * 70}, f"{CDR}:1: `f` has 71 lines"),
    (only_the_command_line_prints, {CDR: "\nprint(1)"}, f"{CDR}:2: only `cli` prints"),
    (modules_say_what_they_are, {CDR: "A = 1"}, f"{CDR}:1: a module begins with a docstring"),
    (
        every_test_states_its_claim,
        {"tests/test_a.py": "def test_a(): ..."},
        "tests/test_a.py:1: `test_a` states no claim",
    ),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps_its_floor_plan(check: Check) -> None:
    """Every file of the house passes every check."""
    broken = list(check(house_as_it_stands()))
    assert not broken, "\n".join(["", *broken])


@pytest.mark.parametrize(("check", "texts", "says"), BAD)
def test_every_check_can_fail(check: Check, texts: dict[str, str], says: str) -> None:
    """A house with one thing wrong gets one sentence that names the place."""
    (broken,) = check(House(texts))
    assert says in broken


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_good_house_passes(check: Check) -> None:
    """What the plan allows is not reported."""
    wall = "def f():\n" + " 1\n" * (FUNCTION_LINES_MAX - 1)
    good = House(
        {
            "onhook/__init__.py": PLATE,
            "onhook/ledger/__init__.py": PLATE,
            "onhook/ledger/sqlite.py": '"""A."""\nimport sqlite3\nfrom onhook.errors import A',
            "onhook/errors.py": f'"""A."""\nimport time\ntime.monotonic()\n{wall}',
            "onhook/clock.py": '"""A."""\nimport time\nfrom datetime import datetime\ntime.time()\ndatetime.now()',
            "onhook/hub/__init__.py": PLATE,
            "onhook/hub/serve.py": '"""A."""\nimport onhook.ledger.sqlite',
            "onhook/cli/__init__.py": PLATE,
            "onhook/cli/main.py": '"""A."""\nfrom onhook.hub.serve import serve\nprint(serve)',
        }
    )
    assert list(check(good)) == []


def test_every_check_has_a_house_that_breaks_it() -> None:
    """A check that was never seen to fail proves nothing."""
    assert {check for check, _, _ in BAD} == set(CHECKS)
