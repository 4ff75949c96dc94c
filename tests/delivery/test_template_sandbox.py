"""Templates: what they can say, and that hostile ones cost little. No test asserts a time: limits count work."""

import json
import tracemalloc
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.template_functions import FILTERS, TemplateFailed
from onhook.delivery.template_sandbox import (
    NODES_MAX,
    OUTPUT_CHARACTERS_MAX,
    SOURCE_CHARACTERS_MAX,
    Escape,
    SandboxedTemplate,
)
from onhook.lib.errors import UsageError

MEMORY_BYTES_MAX = 8_000_000
"""Of a template with its text: some copies of the longest text."""

CALL: dict[str, Any] = {
    "call_from": 'Bob "B"\n\\Lee<+49 30 1234>',
    "call_to": "1002",
    "talk_duration": 3_725,
    "missing": None,
    "empty": "",
    "started_at": "2026-04-27T11:04:36.5Z",
    "legs": [{"n": 1}, {"n": 2}],
    "names": ["a", "b", "c"],
    "hundred": list(range(100)),
    "long": "a" * 30_000,
    "other": "a" * 29_999 + "b",
}


def compile_template(source: str, escape: Escape = "plain") -> SandboxedTemplate:
    return SandboxedTemplate(source, escape, variables=frozenset({"call"}), location="body")


def render(source: str, escape: Escape = "plain", **members: Any) -> str:
    return compile_template(source, escape).render({"call": CALL | members})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{ call.call_to }} {{ call['call_to'] }}", "1002 1002"),
        ("{{ call.missing }}{{ call.empty }}|{{ true }}|{{ 1.5 }}", "|true|1.5"),
        ("{{ call.call_from|number }}", "+49 30 1234"),
        ("{{ call.call_from|name|replace('\\n', ' ')|upper }}", 'BOB "B" \\LEE'),
        ("{{ 'No_Answer'|word }} {{ 'Answerd'|word == 'ANSWERED' }} {{ call.missing|word }}", "NOANSWER true "),
        ("{{ call.nothing|default('none') }} {{ call.empty|default(7) }} {{ call.call_to|default(7) }}", "none 7 1002"),
        ("{{ call.talk_duration|duration }} {{ 59|duration }} {{ call.missing|duration }}", "1:02:05 0:59 "),
        ("{{ call.started_at|epoch }} {{ call.started_at|epoch * 1000 }}", "1777287876 1777287876000"),
        ("{{ call.started_at|time('%d.%m.%Y %H:%M') }}{{ call.empty|time('%Y') }}", "27.04.2026 11:04"),
        ("{{ call.names|join('-') }} {{ call.names|first }}{{ call.names|last }}{{ call.names|length }}", "a-b-c ac3"),
        ("{{ call.empty|first }}{{ call.legs[1].n }}{{ call.names[:2]|join }}", "2a, b"),
        ("{{ 'a:b'|base64 }}", "YTpi"),
        ("{{ ' a '|trim }}{{ 'ABC'|lower|truncate(2) }}{{ 'a b/ü'|urlencode }}", "aaba%20b%2F%C3%BC"),
        ("{{ ' 12.7 '|int + 1 }} {{ 'x'|int }} {{ 2.46|round(1) }} {{ 2.6|round }}", "13 0 2.5 3"),
        ("{{ 7 // 2 }} {{ 7 % 2 }} {{ 7 / 2 }} {{ -7 * 2 }}", "3 1 3.5 -14"),
        ("{{ 7 - 2 }} {{ 'a' + 'b' }} {{ 1 ~ 'b' }}", "5 ab 1b"),
        ("{% for leg in call.legs %}{{ loop.index }}{{ leg.n }}{{ loop.last }}{% endfor %}", "11false22true"),
        ("{% for name in call.nothing|default([]) %}x{% else %}none{% endfor %}", "none"),
        ("{% set a = 1 %}{% if a == 1 and a < 2 or a >= 3 %}y{% elif a %}z{% else %}n{% endif %}", "y"),
        ("{{ 'y' if 'a' in call.names and 'z' not in call.names else 'n' }}", "y"),
        ("{{ call.missing is none }} {{ call.x is defined }} {{ call is mapping }}", "true false true"),
        ("{{ 1 is number }}", "true"),
        ("{{ call.x == 1 }} {{ 1 in call.x }} {{ call.x is undefined }} {{ 'a' is string }}", "false false true true"),
        ("{{ call.legs|tojson }} {{ call.legs }}", '[{"n":1},{"n":2}] [{"n":1},{"n":2}]'),
        ("{{ {'a': [1]}|tojson }}", '{"a":[1]}'),
        ("{% raw %}{{ x }}{% endraw %}{# comment #}", "{{ x }}"),
    ],
)  # fmt: skip
def test_template_text(source: str, text: str) -> None:
    assert render(source) == text


def test_template_has_each_filter_in_a_test() -> None:
    texts = [mark.args[1] for mark in test_template_text.pytestmark]  # type: ignore[attr-defined]
    sources = " ".join(source for rows in texts for source, _text in rows)
    assert [name for name in FILTERS if f"|{name}" not in sources] == []


HOSTILE_SOURCES = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{{ 10**10**10 }}",
    "{{ 'a' * 10000000000 }}",
    "{{ '%10000000000d' % 1 }}",
    "{{ 10000000000 is odd }}",
    "{{ 'a'|center(10000000000) }}",
    "{{ call.started_at|time('%10000000000d') }}",
    "{% set x = 'aaaaaaaaaa' %}" + "{% set x = x ~ x %}" * 40 + "{{ x }}",
    "{% set x = 'aaaaaaaaaa' %}" + "{% set x = x + x %}" * 40 + "{{ x }}",
    "{% set x = [1, 2] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
    "{% set x = [1, 2] %}" + "{% set x = [x, x] %}" * 15 + "{{ x|tojson }}",
    "{% set x = [1, 2] %}" + "{% set x = [x, x] %}" * 40 + "{{ x == x }}",
    "{% set x = 2 %}" + "{% set x = x * x %}" * 40 + "{{ x }}",
    "{% for a in call.hundred %}{% for b in call.hundred %}{% for c in call.hundred %}x" + "{% endfor %}" * 3,
    "{% for a in call.hundred %}{{ call.long|upper|lower|trim|length }}{% endfor %}",
    "{% for a in call.hundred %}{% if call.long == call.other %}x{% endif %}{% endfor %}",
    "{% for a in call.hundred %}{% if call.long in call.other %}x{% endif %}{% endfor %}",
    "{% for a in call.hundred[:20] %}{% if call.long in [" + "call.other, " * 90 + "] %}x{% endif %}{% endfor %}",
    "{% for a in call.hundred %}{{ call.long[1:]|length }}{% endfor %}",
    "{% for a in call.hundred %}{{ call.long }}{% endfor %}",
    "{{ call.long|replace('a', call.long) }}",
    "{{ call.long|replace('a', 'aa') }}",
    "{{ call.hundred|join(call.long) }}",
    "{{ call.long ~ call.other }}",
    "{{ call.long }}{{ call.long }}{{ call.long }}",
    "{% for x in call.legs recursive %}{{ loop(call.legs) }}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ 99999999999999999999 * 2 }}",
    "{{ 1e308 * 1e308 }}",
    "{{ " + "9" * 5_000 + " }}",
    "{{ " + "(" * 2_000 + "1" + ")" * 2_000 + " }}",
    "{{ call" + ".a" * 2_000 + " }}",
    "{{ " + "-" * 4_000 + "1 }}",
    "{{ " + "not " * 1_000 + "1 }}",
    "{{ " + "[" * 2_000 + "]" * 2_000 + " }}",
    "{% if 1 %}" * 300 + "{% endif %}" * 300,
    "{{ 1 }}" * (NODES_MAX // 2),
    "x" * (SOURCE_CHARACTERS_MAX + 1),
]  # fmt: skip


@pytest.mark.parametrize("source", HOSTILE_SOURCES, ids=range(len(HOSTILE_SOURCES)))
def test_template_hostile_is_refused_in_little_memory(source: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((UsageError, TemplateFailed)):
            render(source)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "source",
    [
        "{{ call.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ call['__class__'] }}",
        "{{ call.items() }}",
        "{{ call.items }}",
        "{{ 'x'.join }}",
        "{{ call|attr('items') }}",
        "{{ call|map('upper') }}",
        "{{ self }}",
        "{{ super() }}",
        "{{ loop }}",
        "{{ lipsum }}",
        "{{ cycler }}",
        "{{ namespace }}",
        "{% for x in call.legs %}{{ loop.__init__ }}{% endfor %}",
        "{% for x in call.legs %}{{ loop.cycle }}{% endfor %}",
        "{% include 'x' %}",
        "{% import 'os' as os %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% call f() %}{% endcall %}",
        "{% set ns.x = 1 %}",
        "{% set x %}y{% endset %}",
        "{% autoescape false %}{% endautoescape %}",
        "{% do call %}",
        "{{ call|tojson(indent=4) }}",
        "{{ '='|=compared('eq', 1) }}",
    ],
)
def test_template_has_no_python(source: str) -> None:
    """Neither attributes of objects nor functions, other templates or filters than ours."""
    with pytest.raises((UsageError, TemplateFailed)):
        render(source)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ other }}", "invalid template: there is no variable other (body)"),
        ("{{", "unexpected 'end of template', line 1"),
        ("{{ call.call_to|shout }}", "there is no filter shout"),
        ("{{ 1 is shiny }}", "there is no test shiny"),
        ("{{ 1 < 2 < 3 }}", "compare two values at a time"),
    ],
)
def test_template_that_cannot_be_compiled_says_why(source: str, error: str) -> None:
    with pytest.raises(UsageError) as raised:
        compile_template(source)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ call.nothing }}", "'nothing' is undefined (body)"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 'a' * 2 }}", "* is for two numbers"),
        ("{{ call.legs ~ 'a' }}", "a list or a mapping is no text"),
        ("{{ call.call_to|round }}", "only a number can be rounded"),
        ("{{ call.call_to|join }}", "only a list can be joined"),
        ("{{ call.call_to|epoch }}", "Invalid isoformat"),
        ("{% for c in call.call_to %}{% endfor %}", "a loop needs a list"),
        ("{% for c in call.nothing %}{% endfor %}", "is undefined"),
        ("{{ call[1:] }}", "only a text or a list has parts"),
        ("{{ 'a' < 1 }}", "not supported"),
        ("{{ call.legs == call.legs }}", "cannot be compared"),
        ("{{ call.call_to|replace('1') }}", "missing 1 required positional argument"),
        ("{{ {call.legs: 1} }}", "unhashable"),
        ("half a character: {{ '\\ud800' }}", "surrogates not allowed"),
    ],
)
def test_template_that_fails_says_why(source: str, error: str) -> None:
    template = compile_template(source)
    with pytest.raises(TemplateFailed) as raised:
        template.render({"call": CALL})
    assert error in str(raised.value)


def test_template_text_has_a_limit() -> None:
    """Of a loop with a long text, and of a single value."""
    with pytest.raises(TemplateFailed, match="more than"):
        render("{% for a in call.hundred %}" + "x" * 1_000 + "{% endfor %}")
    assert len(render("{{ call.long }}{{ call.other }}")) < OUTPUT_CHARACTERS_MAX
    with pytest.raises(TemplateFailed, match="a value is too long"):
        render("{{ call.call_to }}", call_to="a" * 32_769)


@given(st.text())
def test_template_value_in_json_stays_a_value(text: str) -> None:
    """A caller's name cannot add members."""
    body = render('{"name": "{{ call.name }}", "all": {{ call.name|tojson }}, "joined": "a{{ \'-\' ~ call.name }}"}', "json", name=text)  # fmt: skip  # noqa: E501 - one template
    assert json.loads(body) == {"name": text, "all": text, "joined": f"a-{text}"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_template_value_in_a_form_stays_a_value(text: str) -> None:
    body = render("name={{ call.name }}&to=1", "form", name=text)
    assert parse_qsl(body, keep_blank_values=True) == [("name", text), ("to", "1")]


@given(st.text())
def test_template_value_in_a_header_is_printable_ascii(text: str) -> None:
    """So it ends no header."""
    header = render("{{ call.name }}", "header", name=text)
    assert header.isascii()
    assert header.isprintable()


def test_template_value_in_a_url_stays_a_segment() -> None:
    assert render("/{{ call.name }}", "url", name="a/b?c#d e") == "/a%2Fb%3Fc%23d%20e"
    with pytest.raises(TemplateFailed, match="a part of a URL"):
        render("/{{ call.name }}", "url", name="..")
