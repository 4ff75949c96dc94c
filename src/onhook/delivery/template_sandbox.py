"""Templates that people write: Jinja's language in its sandbox, reduced to what has a bounded cost.

Invariants: the tree of a template has only nodes of `_NODES`, so it defines, imports and calls nothing; attributes are
members of the values that it is given, never those of Python's objects. Comparisons, `~`, slices and loops are replaced
by filters that are paid for in units of work (`template_functions`), so that neither time nor memory depends on what a
template asks for. Limits count work, not time: the same values give the same text.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import jinja2
from jinja2 import nodes, pass_context
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from onhook.delivery.template_functions import (
    FILTERS,
    INTERNAL_FILTERS,
    NUMBER_MAX,
    OPERATORS,
    TESTS,
    TEXT_CHARACTERS_MAX,
    WORK,
    JsonText,
    SecretText,
    TemplateFailed,
    Work,
    apply_operator,
    charge_text,
)
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

SOURCE_CHARACTERS_MAX = 8_192
"""Of one template: the largest request that a vendor's documentation shows has some thousand."""

TOKENS_MAX = 3_000
"""Of one template, counted before it is parsed: parsing costs so much more than reading."""

OUTPUT_CHARACTERS_MAX = 65_536
"""Of one text, as of the bodies that receivers of webhooks take."""

NODES_MAX = 2_000
"""Parts of one template; a recipe has some fifty."""

DEPTH_MAX = 40
"""Levels of one template; deeper ones would exhaust the stack of the compiler."""

DETAIL_CHARACTERS_MAX = 200

_LOOP_MEMBERS = frozenset({"index", "index0", "first", "last", "length"})
_RESERVED_NAMES = frozenset({"self", "super", "caller", "varargs", "kwargs"})
"""Names that Jinja defines itself."""

_NODES: frozenset[type[nodes.Node]] = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign),
        *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair),
        *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.CondExpr),
        *(nodes.Compare, nodes.And, nodes.Or, nodes.Not, nodes.Concat),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg),
    }
)

_COMPILE_ERRORS = (
    *(jinja2.TemplateError, ValueError, TypeError, ArithmeticError, LookupError),
    *(RecursionError, MemoryError, SyntaxError),
)
_RENDER_ERRORS = (jinja2.TemplateError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError)

Escape = Literal["json", "url", "form", "header", "plain"]
"""Where a text goes: values are escaped so that they stay values, whatever a caller's name contains."""


def _escape_json(text: str) -> str:
    return text if isinstance(text, JsonText) else json.dumps(text, ensure_ascii=False)[1:-1]


def _escape_url(text: str) -> str:
    if isinstance(text, SecretText):
        return quote(text, safe="/?&=%-._~:")
    if text and not text.strip("."):
        raise TemplateFailed(_("a part of a URL cannot be {text}", text=text[:20]), hint=_("leave it out"))
    return quote(text, safe="")


def _escape_header(text: str) -> str:
    return "".join(char if " " <= char <= "~" else quote(char, safe="", errors="replace") for char in text)


_ESCAPES: Mapping[Escape, Callable[[str], str]] = MappingProxyType(
    {"json": _escape_json, "url": _escape_url, "form": quote_plus, "header": _escape_header, "plain": str}
)


class SandboxedTemplate:
    """One compiled template. `variables` are the names that it may use.

    Raises `UsageError` at `location` for a template that cannot be compiled, or that has what templates do not have.
    """

    def __init__(self, source: str, escape: Escape, *, variables: frozenset[str], location: str) -> None:
        self._location = location
        self._source = source
        if len(source) > SOURCE_CHARACTERS_MAX:
            raise _source_error(_("it has more than {maximum} characters", maximum=SOURCE_CHARACTERS_MAX), location)
        environment = _Environment(_ESCAPES[escape])
        try:
            if len(list(islice(environment.lex(source), TOKENS_MAX + 1))) > TOKENS_MAX:
                raise _Unsupported(_("it has too many parts or levels"))
            tree = environment.parse(source)
            reducer = _Reducer()
            tree = reducer.visit(tree)
            tree.set_environment(environment)
            unknown_names = find_undeclared_variables(tree) - variables
            if unknown_names:
                raise _Unsupported(_("there is no variable {name}", name=min(unknown_names)[:80]))
            self._template = environment.from_string(tree)
        except _COMPILE_ERRORS as error:
            raise _source_error(_describe(error), location) from error
        self._node_count = reducer.node_count

    def uses(self, name: str) -> bool:
        """Return whether the text may depend on a variable: whether its source has the name, in whichever place."""
        return name in self._source

    def render(self, values: Mapping[str, Any], work: Work | None = None) -> str:
        """Return the text for some values, which are as JSON has them; `work` is what several texts share. Raises
        `TemplateFailed`.
        """
        work = work or Work()
        try:
            work.charge(self._node_count)
            context = self._template.new_context({**values, WORK: work})
            text = "".join(_limit_output(self._template.root_render_func(context)))
            text.encode()  # a half of a character, as "\ud800", cannot be sent
            return text
        except TemplateFailed as error:
            raise TemplateFailed(error.message, location=self._location, hint=error.hint) from error
        except _RENDER_ERRORS as error:
            raise TemplateFailed(
                _("the template failed: {reason}", reason=_describe(error)),
                location=self._location,
                hint=_("correct the template"),
            ) from error


def _limit_output(parts: Iterator[str]) -> Iterator[str]:
    characters = 0
    for part in parts:
        characters += len(part)
        if characters > OUTPUT_CHARACTERS_MAX:
            raise TemplateFailed(
                _("the text has more than {maximum} characters", maximum=OUTPUT_CHARACTERS_MAX), hint=_("shorten it")
            )
        yield part


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox without globals, with the filters and tests of templates alone."""

    intercepted_binops = OPERATORS

    def __init__(self, escape: Callable[[str], str]) -> None:
        @pass_context
        def finalize(context: Context, value: object) -> str:
            if isinstance(value, list | tuple | dict):
                value = FILTERS["tojson"](context, value)
            text = charge_text(context, value)
            if len(text) > TEXT_CHARACTERS_MAX:
                raise TemplateFailed(_("a value is too long"), hint=_("truncate it"))
            return escape(text)

        super().__init__(
            undefined=jinja2.StrictUndefined, finalize=finalize, autoescape=False, optimized=False, cache_size=0
        )
        self.globals.clear()
        self.filters = {**FILTERS, **INTERNAL_FILTERS}
        self.tests = dict(TESTS)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return apply_operator(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP_MEMBERS:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, dict) and isinstance(argument, str) and argument in obj:
            return obj[argument]
        if isinstance(obj, str | list | tuple) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
            return obj[argument]
        return self.undefined(name=argument if isinstance(argument, str) else str(type(argument).__name__))

    def is_safe_callable(self, obj: Any) -> bool:
        return False


class _Unsupported(jinja2.TemplateError):
    """A template has what templates do not have."""


class _Reducer(NodeTransformer):
    """Checks each node, counts them, and replaces those whose cost depends on values by filters."""

    def __init__(self) -> None:
        self.node_count = 0
        self._depth = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        self.node_count += 1
        if type(node) not in _NODES:
            raise _Unsupported(_("templates have no {construct}", construct=type(node).__name__))
        if self.node_count > NODES_MAX or self._depth >= DEPTH_MAX:
            raise _Unsupported(_("it has too many parts or levels"))
        self._depth += 1
        try:
            return self._rewrite(node)
        finally:
            self._depth -= 1

    def _rewrite(self, node: nodes.Node) -> nodes.Node:
        """Return the node, or what stands for it, with all nodes below it visited."""
        match node:
            case nodes.For():
                return self._rewrite_loop(node)
            case nodes.Compare():
                return self._rewrite_comparison(node)
            case nodes.Getitem(arg=nodes.Slice()):
                return self._rewrite_slice(node)
            case nodes.Concat():
                self.generic_visit(node)
                return _filter(node, nodes.List(node.nodes, lineno=node.lineno), "=concatenated")
        _check_content(node)
        return self.generic_visit(node)

    def _rewrite_loop(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise _Unsupported(_("templates have no {construct}", construct="recursive"))
        count_before = self.node_count
        self.generic_visit(node)
        node.iter = _filter(node, node.iter, "=items", nodes.Const(self.node_count - count_before + 1))
        return node

    def _rewrite_comparison(self, node: nodes.Compare) -> nodes.Node:
        if len(node.ops) != 1:
            raise _Unsupported(_("compare two values at a time"))
        operand = node.ops[0]
        left, right = self.visit(node.expr), self.visit(operand.expr)
        return _filter(node, left, "=compared", nodes.Const(operand.op), right)

    def _rewrite_slice(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        part = node.arg
        assert isinstance(part, nodes.Slice), "only slices are rewritten"
        bounds = [bound or nodes.Const(None) for bound in (part.start, part.stop, part.step)]
        return _filter(node, node.node, "=slice", *bounds)


def _check_content(node: nodes.Node) -> None:
    """Check names and values. Raises `_Unsupported`."""
    match node:
        case nodes.Name(name=name) if name in _RESERVED_NAMES:
            raise _Unsupported(_("there is no variable {name}", name=name))
        case nodes.Const(value=int() | float() as value) if not abs(value) <= NUMBER_MAX:
            raise _Unsupported(_("a number is too large"))
        case nodes.Filter(name=name) if name not in FILTERS:
            raise _Unsupported(_("there is no filter {name}", name=name[:80]))
        case nodes.Test(name=name) if name not in TESTS:
            raise _Unsupported(_("there is no test {name}", name=name[:80]))
        case nodes.Filter() | nodes.Test():
            _require_plain_arguments(node)


def _require_plain_arguments(node: nodes.Filter | nodes.Test) -> None:
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        raise _Unsupported(_("write the arguments of {name} without names", name=node.name))


def _filter(origin: nodes.Node, node: nodes.Node, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    assert isinstance(node, nodes.Expr), "what has a value is rewritten"
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=origin.lineno)


def _describe(error: BaseException) -> str:
    """Return an error in one line, with the line of the template where it is known."""
    if isinstance(error, RecursionError | MemoryError):
        return _("it has too many parts or levels")
    text = " ".join(str(error).split())[:DETAIL_CHARACTERS_MAX] or type(error).__name__
    line = getattr(error, "lineno", None)
    return _("{reason}, line {line}", reason=text, line=line) if isinstance(line, int) else text


def _source_error(reason: str, location: str) -> UsageError:
    return UsageError(
        _("invalid template: {reason}", reason=reason), location=location, hint=_("see the page of this kind in docs/")
    )
