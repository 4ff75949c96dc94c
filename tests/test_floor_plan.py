"""The structure of the code base: package ranks, restricted imports, restricted capabilities, size limits.

The ranks are those of ARCHITECTURE.md. A new package is registered in RANKS, or the first check fails.
Each check is a function from the code base (all Python files) to messages that say where, what and what to do.
"""

import ast
import re
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Final

import pytest

from tests.code_base import CodeBase, File, current_code_base, dotted, package_of, statements

# A package imports packages of lower ranks only.
RANKS: Final = (
    {"lib"},
    {"cdr"},
    {"config", "pbx", "ledger", "store", "appdb"},
    {"receiver", "projector", "delivery", "pbx_api"},
    {"sync", "console", "simulator"},
    {"ops"},
    {"runtime"},
    {"cli"},
)
RANK_OF: Final = {package: rank for rank, packages in enumerate(RANKS) for package in packages}

# Packages whose modules are private unless listed here; `runtime` and `cli` assemble everything and may import all.
PUBLIC_MODULES: Final = {
    "receiver": {"receiver.ingest", "receiver.pbx_registry", "receiver.rejections", "receiver.verdict"},
    "delivery": {  # for console, ops and sync
        "delivery.address_check",
        "delivery.destinations.kinds",
        "delivery.destinations.recipes",
        "delivery.issues",
        *("delivery.mail_message", "delivery.mail_sender"),
        "delivery.metrics",
        "delivery.preview",
        "delivery.ssrf_guard",
        "delivery.status",
    },
    "pbx_api": {"pbx_api.certificate"},  # for ops
    "sync": {  # for ops
        "sync.ami_connections",
        "sync.api_backfill",
        "sync.appdb_state",
        "sync.backfill_run",
        "sync.call_lookup",
        *("sync.cdr_sources", "sync.certificate_pinning", "sync.clock_check", "sync.contract"),
        "sync.pbx_session",
        "sync.pbx_sync_manager",
    },
    "console": set[str](),
    "simulator": set[str](),
}
ASSEMBLERS: Final = {"runtime", "cli"}

# Narrower than the ranks: an acknowledgement waits for nothing but the ledger.
FORBIDDEN: Final = {"receiver": {"store", "appdb"}}

# `cdr` is pure: of `lib` it may use only these.
CDR_MAY_IMPORT: Final = {"lib.errors", "lib.timestamps"}

# Parts of engines, which their own package alone may import.
ENGINE_PARTS: Final = {
    "onhook.appdb.postgresql": ("audit", "changes", "connection", "schema", "session", "statements"),
    "onhook.ledger.jetstream": ("client", "entries", "follower", "health", "server", "state", "streams"),
}

# Module: the packages that may import it. All others use the contract beside it.
ENGINES: Final = {
    "onhook.appdb.sqlite": {"appdb"},
    "onhook.appdb.sqlite_session": {"appdb"},
    "onhook.appdb.sqlite_audit": {"appdb"},
    "onhook.appdb.sqlite_file": {"appdb", "ops"},  # copies and checks of files
    "onhook.appdb.postgresql": {"appdb"},
    "onhook.ledger.sqlite": {"ledger", "runtime"},
    "onhook.ledger.jetstream": {"ledger", "runtime"},
    **{f"onhook.ledger.{name}_copy": {"ledger", "ops"} for name in ("jetstream", "sqlite")},
    "onhook.store.duckdb": {"store", "runtime"},
    **{f"{engine}_{part}": {engine.split(".")[1]} for engine, parts in ENGINE_PARTS.items() for part in parts},
}

# Class that opens a file: its package. All others get an open one, or open it by `runtime.engines`.
OPENERS: Final = {"AppDb": "appdb", "SqliteLedger": "ledger", "JetStreamLedger": "ledger", "DuckDbStore": "store"}

# Capability: the packages that may use it.
CAPABILITIES: Final = {
    "os.environ": {"config"},
    "os.getenv": {"config"},
    "time.time": {"lib"},
    "time.time_ns": {"lib"},
    "datetime.datetime.now": {"lib"},
    "datetime.datetime.utcnow": {"lib"},
    "datetime.datetime.today": {"lib"},
    "datetime.date.today": {"lib"},
    # `lib` splits SQL scripts; `sync` reads SQLite files in which PBXs keep their CDRs.
    "sqlite3": {"appdb", "ledger", "lib", "store", "sync"},
    "asyncpg": {"appdb"},
    "duckdb": {"appdb", "ledger", "store"},
}

# Package: another one whose modules it may not import. Both use `console.queries`.
SEPARATE: Final = {"onhook.console.pages": "onhook.console.api", "onhook.console.api": "onhook.console.pages"}

DIALECTS_PACKAGE: Final = "pbx"  # its subpackages never import each other
THREAD_CALLS: Final = {"to_thread", "run_in_executor"}
PACKAGE_DOCSTRING: Final = ("Job:", "May import:", "Must not:")
FILE_LINES_MAX: Final = 500  # longer files are not read in one go
FUNCTION_LINES_MAX: Final = 70  # one screen

Function = ast.FunctionDef | ast.AsyncFunctionDef


# Checks

Check = Callable[[CodeBase], Iterator[str]]


def imports_follow_the_ranks(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        if file.top_package not in RANK_OF and file.top_package:
            yield file.error(1, f"`{file.top_package}` is unknown: add it to RANKS in tests/test_floor_plan.py.")
            continue
        for imported in code.own_imports(file):
            if package_of(imported.name) != file.top_package and not may_import(file, imported.name):
                yield file.error(
                    imported.line,
                    f"`{file.top_package}` may not import `{imported.name}`: pass it in from `runtime`, "
                    "or move the rule to a package of a lower rank.",
                )


def may_import(file: File, module: str) -> bool:
    package, target = file.top_package, package_of(module)
    if RANK_OF.get(target, len(RANKS)) >= RANK_OF.get(package, -1):
        return False
    if target in FORBIDDEN.get(package, ()):
        return False
    name = module.removeprefix("onhook.")
    if package == "cdr":
        return name in CDR_MAY_IMPORT
    return package in ASSEMBLERS or target not in PUBLIC_MODULES or name in PUBLIC_MODULES[target]


def engines_are_imported_by_their_owners(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        for imported in code.own_imports(file):
            if file.top_package not in ENGINES.get(imported.name, {file.top_package}):
                yield file.error(
                    imported.line,
                    f"only {quoted(ENGINES[imported.name])} may import `{imported.name}`: use the contract beside it.",
                )


def engines_open_the_files(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        for node in file.nodes:
            name = dotted(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if name in OPENERS and file.top_package != OPENERS[name]:
                yield file.error(
                    getattr(node, "lineno", 1),
                    f"`{name}` is opened by `runtime.engines`: use `ENGINES`, or pass it in.",
                )


def dialects_are_independent(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        home = dialect_of(file.module, code)
        for imported in code.own_imports(file):
            other = dialect_of(imported.name, code)
            if home and other and home != other:
                yield file.error(
                    imported.line,
                    f"`{home}` may not import its sibling `{other}`: move shared code to `pbx/` or `cdr/`.",
                )


def dialect_of(module: str, code: CodeBase) -> str:
    """Return `onhook.pbx.yeastar` for `onhook.pbx.yeastar.payload`, and an empty text for a module of `pbx/` itself."""
    parts = module.split(".")
    folder = ".".join(parts[:3])
    return folder if len(parts) > 2 and parts[1] == DIALECTS_PACKAGE and folder in code.folders else ""


def pages_and_api_are_separate(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        for package, other in SEPARATE.items():
            for imported in code.own_imports(file):
                if file.package.startswith(package) and f"{imported.name}.".startswith(f"{other}."):
                    yield file.error(imported.line, f"`{package}` may not import `{other}`: use `console.queries`.")


def imports_have_no_cycles(code: CodeBase) -> Iterator[str]:
    graph = {
        file.module: {imported.name for imported in code.own_imports(file)} & code.modules for file in code.sources
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        first = next(file for file in code.sources if file.module == cycle[0])
        line = next(imported.line for imported in code.own_imports(first) if imported.name == cycle[1])
        yield first.error(line, f"imports form a cycle, {' → '.join(cycle)}: move the shared part to a third module.")


def imports_are_at_the_top(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        for function in functions(file):
            for node in statements(function.body):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield file.error(node.lineno, f"`{function.name}` contains an import: move it to the top.")


def packages_have_a_docstring(code: CodeBase) -> Iterator[str]:
    for package in sorted({file.package for file in code.sources} - {f.module for f in code.sources if f.is_package}):
        path = f"{package.replace('.', '/')}/__init__.py"
        yield f"{path}:1: is missing: write the package docstring ({', '.join(PACKAGE_DOCSTRING)})."
    for file in code.sources:
        if file.is_package:
            yield from wrong_docstring(file)


def wrong_docstring(file: File) -> Iterator[str]:
    lines = (ast.get_docstring(file.tree) or "").splitlines()
    if [word for line in lines for word in PACKAGE_DOCSTRING if line.startswith(word)] != list(PACKAGE_DOCSTRING):
        yield file.error(
            1, f"the package docstring needs three lines that begin with {', '.join(PACKAGE_DOCSTRING)} in this order."
        )
    for node in file.tree.body[1:]:
        yield file.error(node.lineno, "a package's `__init__.py` contains no code: move it to a module of the package.")


def package_docstrings_agree_with_the_ranks(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        package = file.top_package
        if not file.is_package or package not in RANK_OF or package in ASSEMBLERS:
            continue
        named = set(re.findall(r"\w+", docstring_line(file, "May import:"))) & RANK_OF.keys()
        too_high = {name for name in named if name != package and RANK_OF[name] >= RANK_OF[package]}
        if too_high:
            yield file.error(1, f"the docstring allows {quoted(too_high)}, which the ranks forbid: correct it.")


def docstring_line(file: File, word: str) -> str:
    lines = (ast.get_docstring(file.tree) or "").splitlines()
    return next((line.removeprefix(word).strip() for line in lines if line.startswith(word)), "")


def capabilities_are_restricted(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        for usage in file.names_used:
            owners = CAPABILITIES.get(usage.name, {file.top_package})
            if file.top_package not in owners:
                yield file.error(usage.line, f"`{usage.name}` belongs to {quoted(owners)}: pass its result in.")


def application_database_is_awaited(code: CodeBase) -> Iterator[str]:
    """Outside `appdb`, `onhook.db` is neither opened nor called from a thread: its repositories are awaited."""
    for file in code.sources:
        if file.top_package == "appdb":
            continue
        used_names = {usage.name for usage in file.names_used}
        for node in file.nodes:
            if isinstance(node, ast.Attribute) and node.attr == "appdb_file" and "sqlite3" in used_names:
                yield file.error(node.lineno, "`onhook.db` is opened by `appdb` alone: use `AppDb`.")
            if (
                isinstance(node, ast.Call)
                and dotted(node.func).rpartition(".")[2] in THREAD_CALLS
                and any("appdb" in dotted(argument) for argument in node.args)
            ):
                yield file.error(node.lineno, "the application database has threads of its own: await it.")


def files_and_functions_are_small(code: CodeBase) -> Iterator[str]:
    for file in code.files:
        lines = len(file.text.splitlines())
        if lines > FILE_LINES_MAX:
            yield file.error(lines, f"{lines} lines, {FILE_LINES_MAX} is the limit: split the file by topic.")
        for function in functions(file):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield file.error(
                    function.lineno,
                    f"`{function.name}` has {length} lines, {FUNCTION_LINES_MAX} is the limit: extract functions.",
                )


def only_cli_prints(code: CodeBase) -> Iterator[str]:
    for file in code.sources:
        if file.top_package == "cli":
            continue
        for node in file.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield file.error(node.lineno, "only `cli` prints: return the text, or log it.")


def modules_have_a_docstring(code: CodeBase) -> Iterator[str]:
    for file in code.files:
        if not ast.get_docstring(file.tree):
            yield file.error(1, "the module docstring is missing: write one.")


def functions(file: File) -> Iterator[Function]:
    return (node for node in file.statements if isinstance(node, Function))


def quoted(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"


# Tests

PRINTED_COMMAND: Final = re.compile(r"onhook [a-z][^`,]*")
PLACEHOLDER: Final = re.compile(r"\{(\w+)[^}]*\}")
NUMBERS: Final = frozenset({"seq", "port", "count"})
"""Placeholders that are whole numbers."""


def _unquoted_placeholders(call: ast.Call) -> Iterator[str]:
    """Yield the placeholders in commands of a translated text whose value is not quoted."""
    texts = [node.value for node in call.args if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    values = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    for command in PRINTED_COMMAND.findall(" ".join(texts)):
        for name in PLACEHOLDER.findall(command):
            value = values.get(name, "")
            if name not in NUMBERS and "shlex.quote(" not in value and not value.endswith(("_argument", "quoted_name")):
                yield name


def printed_commands_have_quoted_values(code: CodeBase) -> Iterator[str]:
    """A name with a blank would be two arguments, and one with a semicolon two commands."""
    for file in code.sources:
        for node in file.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "_n"):
                for name in _unquoted_placeholders(node):
                    yield file.error(node.lineno, f"{{{name}}} in a command is not quoted: use shlex.quote")


CHECKS: Final[list[Check]] = [
    imports_follow_the_ranks,
    engines_are_imported_by_their_owners,
    engines_open_the_files,
    dialects_are_independent,
    pages_and_api_are_separate,
    imports_have_no_cycles,
    imports_are_at_the_top,
    packages_have_a_docstring,
    package_docstrings_agree_with_the_ranks,
    capabilities_are_restricted,
    application_database_is_awaited,
    files_and_functions_are_small,
    only_cli_prints,
    modules_have_a_docstring,
    printed_commands_have_quoted_values,
]

DOCSTRING: Final = '"""Job: a.\n\nMay import: lib.\nMust not: b.\n"""\n'
CDR: Final = "onhook/cdr/record.py"

# Check, the smallest code base that violates it, and part of the message.
BAD: Final[list[tuple[Check, dict[str, str], str]]] = [
    (imports_follow_the_ranks, {"onhook/attic.py": ""}, "onhook/attic.py:1: `attic` is unknown"),
    (imports_follow_the_ranks, {CDR: "\nimport onhook.store.contract"}, f"{CDR}:2: `cdr` may not import"),
    (imports_follow_the_ranks, {CDR: "from onhook.lib import clock", "onhook/lib/clock.py": ""}, "`onhook.lib.clock`"),
    (imports_follow_the_ranks, {CDR: "from ..lib.clock import now"}, "`onhook.lib.clock`"),
    (imports_follow_the_ranks, {CDR: "def f():\n import onhook.lib.clock"}, f"{CDR}:2: "),
    (imports_follow_the_ranks, {"onhook/receiver/a.py": "from onhook.appdb.a import S"}, "`onhook.appdb.a`"),
    (imports_follow_the_ranks, {"onhook/receiver/a.py": "from onhook.store.contract import S"}, "`onhook.store"),
    (imports_follow_the_ranks, {"onhook/store/a.py": "from onhook.pbx.dialect import p"}, "`onhook.pbx.dialect`"),
    (imports_follow_the_ranks, {"onhook/console/p.py": "from onhook.runtime.a import s"}, "`onhook.runtime.a`"),
    (
        imports_follow_the_ranks,
        {"onhook/console/p.py": "from onhook.delivery.worker import w"},
        "`onhook.delivery.worker`",
    ),
    (imports_follow_the_ranks, {"onhook/runtime/a.py": "from onhook.cli.main import main"}, "`onhook.cli.main`"),
    (
        engines_are_imported_by_their_owners,
        {"onhook/cli/calls.py": "import onhook.store.duckdb"},
        "may import `onhook.store.duckdb`",
    ),
    (
        engines_are_imported_by_their_owners,
        {"onhook/receiver/a.py": "from onhook.ledger.sqlite import A"},
        "onhook/receiver/a.py:1: ",
    ),
    (
        engines_open_the_files,
        {"onhook/cli/pbx.py": "from onhook.appdb.appdb import AppDb\nasync with AppDb(path) as appdb: pass"},
        "onhook/cli/pbx.py:2: `AppDb` is opened by `runtime.engines`",
    ),
    (
        engines_open_the_files,
        {"onhook/runtime/hub.py": "from onhook.ledger import sqlite\nledger = sqlite.SqliteLedger(path)"},
        "onhook/runtime/hub.py:2: `SqliteLedger` is opened",
    ),
    (
        dialects_are_independent,
        {"onhook/pbx/asterisk/cdr.py": "", "onhook/pbx/yeastar/payload.py": "from onhook.pbx.asterisk.cdr import x"},
        "`onhook.pbx.yeastar` may not import its sibling `onhook.pbx.asterisk`",
    ),
    (
        pages_and_api_are_separate,
        {"onhook/console/pages/calls.py": "from onhook.console.api.calls import find_call"},
        "`onhook.console.pages` may not import `onhook.console.api`",
    ),
    (
        imports_have_no_cycles,
        {"onhook/cdr/a.py": "import onhook.cdr.b", "onhook/cdr/b.py": "from onhook.cdr import a"},
        "imports form a cycle, onhook.cdr.",
    ),
    (
        application_database_is_awaited,
        {"onhook/sync/a.py": "import asyncio\nasync def f(self):\n    await asyncio.to_thread(self.appdb.pbxs)"},
        "onhook/sync/a.py:3: the application database has threads of its own",
    ),
    (
        application_database_is_awaited,
        {"onhook/sync/a.py": "import sqlite3\ndef f(config):\n    sqlite3.connect(config.appdb_file)"},
        "onhook/sync/a.py:3: `onhook.db` is opened by `appdb` alone",
    ),
    (
        engines_are_imported_by_their_owners,
        {"onhook/runtime/a.py": "from onhook.appdb.sqlite import SqliteDatabase"},
        "may import `onhook.appdb.sqlite`",
    ),
    (imports_are_at_the_top, {CDR: "async def f():\n    import os"}, f"{CDR}:2: `f` contains an import"),
    (packages_have_a_docstring, {CDR: ""}, "onhook/cdr/__init__.py:1: is missing"),
    (packages_have_a_docstring, {"onhook/cdr/__init__.py": '"""Job: a."""'}, "the package docstring needs three lines"),
    (
        packages_have_a_docstring,
        {"onhook/cdr/__init__.py": DOCSTRING + "A = 1"},
        "__init__.py:6: a package's `__init__",
    ),
    (
        package_docstrings_agree_with_the_ranks,
        {"onhook/ledger/__init__.py": DOCSTRING.replace("lib", "store")},
        "which the ranks forbid",
    ),
    (capabilities_are_restricted, {CDR: "import os\nos.environ['A']"}, f"{CDR}:2: `os.environ` belongs to `config`"),
    (capabilities_are_restricted, {CDR: "from os import getenv"}, "`os.getenv`"),
    (capabilities_are_restricted, {CDR: "import time as t\nt.time()"}, f"{CDR}:2: `time.time`"),
    (capabilities_are_restricted, {CDR: "import time\nf(clock=time.time_ns)"}, "`time.time_ns`"),
    (
        capabilities_are_restricted,
        {CDR: "from datetime import UTC, datetime\ndatetime.now(UTC)"},
        "`datetime.datetime.now`",
    ),
    (capabilities_are_restricted, {CDR: "import datetime\ndatetime.datetime.utcnow()"}, "`datetime.datetime.utcnow`"),
    (capabilities_are_restricted, {"onhook/console/api.py": "import sqlite3"}, "`sqlite3` belongs to `appdb`, "),
    (capabilities_are_restricted, {"onhook/console/api.py": "from duckdb import connect"}, "`duckdb` belongs to"),
    (files_and_functions_are_small, {"tests/test_a.py": "\n" * 501}, "tests/test_a.py:501: 501 lines"),
    (files_and_functions_are_small, {CDR: "def f():\n" + " 1\n" * 70}, f"{CDR}:1: `f` has 71 lines"),
    (only_cli_prints, {CDR: "\nprint(1)"}, f"{CDR}:2: only `cli` prints"),
    (modules_have_a_docstring, {CDR: "A = 1"}, f"{CDR}:1: the module docstring is missing"),
    (
        printed_commands_have_quoted_values,
        {CDR: "_('use `onhook pbx list {name}`', name=name)"},
        f"{CDR}:1: {{name}} in a command is not quoted",
    ),
]


def test_floor_plan_current_code_passes() -> None:
    """In one test: to read all files takes seconds."""
    violations = [violation for check in CHECKS for violation in check(current_code_base())]
    assert not violations, "\n".join(["", *violations])


@pytest.mark.parametrize(("check", "texts", "message"), BAD)
def test_floor_plan_broken_code_is_reported(check: Check, texts: dict[str, str], message: str) -> None:
    (violation,) = check(CodeBase(texts))
    assert message in violation


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_floor_plan_allowed_code_passes(check: Check) -> None:
    longest_function = "def f():\n" + " 1\n" * (FUNCTION_LINES_MAX - 1)
    code = CodeBase(
        {
            "onhook/__init__.py": DOCSTRING,
            "onhook/ledger/__init__.py": DOCSTRING,
            "onhook/ledger/sqlite.py": '"""A."""\nimport sqlite3\nfrom onhook.lib.errors import A',
            "onhook/lib/__init__.py": DOCSTRING.replace("lib", "nothing"),
            "onhook/lib/errors.py": f'"""A."""\nimport time\ntime.monotonic()\n{longest_function}',
            "onhook/lib/clock.py": '"""A."""\nimport time\nfrom datetime import datetime\ntime.time()\ndatetime.now()',
            "onhook/runtime/__init__.py": DOCSTRING,
            "onhook/runtime/serve.py": '"""A."""\nimport onhook.ledger.sqlite',
            "onhook/cli/__init__.py": DOCSTRING,
            "onhook/cli/main.py": '"""A."""\nfrom onhook.runtime.serve import serve\nprint(serve)',
        }
    )
    assert list(check(code)) == []


def test_floor_plan_every_check_has_a_failing_case() -> None:
    assert {check for check, _, _ in BAD} == set(CHECKS)
