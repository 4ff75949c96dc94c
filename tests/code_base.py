"""The files of Onhook, parsed, with their imports; read by the tests of the structure."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

BODIES: Final = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where a statement has other statements, or parts that have them."""


@dataclass(frozen=True)
class Import:
    """One imported module, and the line of the import."""

    name: str
    line: int


@dataclass(frozen=True)
class File:
    """One Python file: `path` relative to `src`, or `tests/...`."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of the tree, computed once for all checks: walking takes most of the time."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def statements(self) -> tuple[ast.stmt, ...]:
        """All statements of the tree; far fewer than its nodes."""
        return tuple(statements(self.tree.body))

    @cached_property
    def names_used(self) -> tuple[Import, ...]:
        return tuple(_find_names_used(self))

    @cached_property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @property
    def package(self) -> str:
        return self.module if self.is_package else self.module.rpartition(".")[0]

    @property
    def top_package(self) -> str:
        return package_of(self.module)

    def error(self, line: int, message: str) -> str:
        return f"{self.path}:{line}: {message}"


class CodeBase:
    """All files, and the names of Onhook's modules."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.files = [File(path, text) for path, text in sorted(texts.items())]
        self.sources = [file for file in self.files if file.path.startswith("onhook/")]
        self.modules = {file.module for file in self.sources}
        self.folders = {module.rpartition(".")[0] for module in self.modules}
        self._imports: dict[str, tuple[Import, ...]] = {}

    def imports(self, file: File) -> tuple[Import, ...]:
        """Return every import of `file`, at any level, with the full module name."""
        if file.path not in self._imports:
            self._imports[file.path] = tuple(self._find_imports(file))
        return self._imports[file.path]

    def _find_imports(self, file: File) -> Iterator[Import]:
        for node in file.nodes:
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = absolute(node, file.package)
                for alias in node.names:
                    name = f"{source}.{alias.name}"
                    yield Import(name if name in self.modules else source, node.lineno)

    def own_imports(self, file: File) -> Iterator[Import]:
        return (imported for imported in self.imports(file) if imported.name.startswith("onhook."))


def package_of(module: str) -> str:
    """Return the top package: `cdr` for `onhook.cdr.record`, an empty text for `onhook` itself."""
    return module.split(".")[1] if "." in module else ""


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the module that `from ... import` names, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def statements(body: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    """Yield the statements of a body, and of the bodies in them."""
    for node in body:
        if isinstance(node, ast.stmt):
            yield node
        for name in BODIES:
            yield from statements(getattr(node, name, ()))


def _find_names_used(file: File) -> Iterator[Import]:
    """Yield the full dotted names that a file imports, and of every `a.b.c` whose `a` is imported."""
    names: dict[str, str] = {}
    for node in file.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield Import(alias.name.partition(".")[0], node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield Import(node.module.partition(".")[0], node.lineno)
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield Import(f"{node.module}.{alias.name}", node.lineno)
    for node in file.nodes:
        if isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            if first in names:
                yield Import(f"{names[first]}.{rest}", node.lineno)


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` as text, and an empty text for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if not isinstance(node, ast.Attribute):
        return ""
    before = dotted(node.value)
    return f"{before}.{node.attr}" if before else ""


@cache
def current_code_base() -> CodeBase:
    """Read all files once; the checks change nothing."""
    roots = {ROOT / "src" / "onhook": ROOT / "src", ROOT / "tests": ROOT}
    paths = {path: base for folder, base in roots.items() for path in folder.rglob("*.py")}
    return CodeBase({path.relative_to(base).as_posix(): path.read_text("utf-8") for path, base in paths.items()})
