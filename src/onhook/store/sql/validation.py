"""Which SQL of users runs: one SELECT from the two views, from its own subqueries and from safe table functions.

The copy that a query reads has nothing else to reveal, and the process can reach nothing; this check makes errors
clear, and is a protection of its own.
"""

from collections.abc import Iterator
from typing import Any

from onhook.lib.messages import mark
from onhook.store.sql.views import VIEWS
from onhook.store.sql.wire import QueryError, QueryFailure

TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
"""Table functions that read nothing."""

FORBIDDEN_FUNCTIONS = frozenset(
    {"nextval", "currval", "pg_sleep", "sleep_ms", "write_log", "getvariable", "current_setting", "current_query"}
    | {"query", "query_table", "getenv", "parse_duckdb_log_message"}
)
"""Functions that wait, reveal the engine, or run another text."""

ONLY_SELECT_MESSAGE = mark("only one SELECT is allowed")
SELECT_HINT = mark("select from `records` or `calls`")

_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_SOURCE_TYPES = frozenset({"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "CTE"})
_SOURCE_KEYS = ("from_table", "left", "right", "source")

Names = frozenset[str]
_ScopedNode = tuple[Any, Names]


def check_syntax_tree(syntax_tree: Any) -> None:
    """Check the tree of `json_serialize_sql`. Raises `QueryError`."""
    if not isinstance(syntax_tree, dict) or syntax_tree.get("error"):
        raise QueryError(QueryFailure(message=ONLY_SELECT_MESSAGE, hint=SELECT_HINT))
    for node, table_names in _walk_nodes(syntax_tree):
        _check_node(node, table_names)


def _check_node(node: dict[str, Any], table_names: Names) -> None:
    node_type = str(node.get("type", ""))
    if node_type.endswith("_NODE") and node_type not in _QUERY_NODES:
        raise QueryError(QueryFailure(message=ONLY_SELECT_MESSAGE, hint=SELECT_HINT))
    for key in _SOURCE_KEYS:
        _check_source(node.get(key))
    if node_type == "BASE_TABLE":
        _check_table(node, table_names)
    if node_type == "TABLE_FUNCTION":
        function = node.get("function")
        name = str(function.get("function_name", "")) if isinstance(function, dict) else ""
        if name.lower() not in TABLE_FUNCTIONS:
            raise _forbidden(name, SELECT_HINT)
    name = str(node.get("function_name", "")).lower()
    if name in FORBIDDEN_FUNCTIONS or name.startswith("__"):
        raise _forbidden(name, mark("remove it from the query"))


def _check_source(source: Any) -> None:
    # An expression has left and right sides too; those have a class, and sources and query nodes have none.
    if not isinstance(source, dict) or "class" in source:
        return
    source_type = str(source.get("type"))
    if source_type not in _SOURCE_TYPES and source_type not in _QUERY_NODES:
        message = mark("a query cannot select from {kind}")
        raise QueryError(QueryFailure(message=message, hint=SELECT_HINT, values={"kind": source_type}))


def _check_table(node: dict[str, Any], table_names: Names) -> None:
    qualified_name = node.get("qualified_name")
    path = qualified_name.get("path", []) if isinstance(qualified_name, dict) else []
    is_qualified = bool(node.get("schema_name") or node.get("catalog_name") or len(path) > 1)
    name = str(node.get("table_name", ""))
    if is_qualified or name.lower() not in table_names:
        shown_name = ".".join(str(part) for part in path) if is_qualified and path else name
        message = mark("there is no table {name!r}")
        raise QueryError(QueryFailure(message=message, hint=SELECT_HINT, values={"name": shown_name[:80]}))


def _forbidden(name: str, hint: str) -> QueryError:
    return QueryError(QueryFailure(message=mark("{name!r} is not allowed here"), hint=hint, values={"name": name[:80]}))


def _walk_nodes(tree: Any) -> Iterator[tuple[dict[str, Any], Names]]:
    """Yield each node with the names of tables that it can see: the views, and those of the subqueries around it.

    A subquery's name (`WITH name AS (...)`) is visible in the query that it belongs to and in the subqueries after it;
    in itself only in the repeated part of a recursive one.
    """
    stack: list[_ScopedNode] = [(tree, frozenset(VIEWS))]
    while stack:
        node, names = stack.pop()
        if isinstance(node, list):
            stack.extend((item, names) for item in node)
        elif isinstance(node, dict):
            inner_names = names
            for name, subquery in _subqueries(node):
                stack.append((subquery, inner_names))
                inner_names |= {name}
            yield node, inner_names
            stack.extend(_children(node, inner_names))


def _subqueries(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the names that a query gives its subqueries, in order, and their trees."""
    cte_map = node.get("cte_map")
    for entry in cte_map.get("map", []) if isinstance(cte_map, dict) else []:
        yield str(entry.get("key", "")).lower(), entry.get("value")


def _children(node: dict[str, Any], names: Names) -> Iterator[_ScopedNode]:
    for key, child in node.items():
        if key == "cte_map":
            continue
        is_repeated_part = node.get("type") == "RECURSIVE_CTE_NODE" and key == "right"
        yield child, names | {str(node.get("cte_name", "")).lower()} if is_repeated_part else names
