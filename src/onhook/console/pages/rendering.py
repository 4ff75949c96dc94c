"""Rendering of templates. All values are escaped and have no control characters: a caller's name is hostile input."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from onhook.appdb.issue_texts import describe_kind
from onhook.appdb.tokens import EXPORT_FILTER_EXAMPLE
from onhook.console.addresses import is_loopback
from onhook.console.pages import formatting
from onhook.console.pages.assets import asset_path
from onhook.console.pages.audit_changes import list_field_changes
from onhook.console.pages.command_pages import find_command_pages
from onhook.console.pages.filter_chips import filter_title
from onhook.console.pages.words import show_word
from onhook.lib.certificates import format_fingerprint
from onhook.lib.languages import LANGUAGES, get_language
from onhook.lib.messages import _, _n
from onhook.pbx.yeastar.display import WEBHOOK_MENU

_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tab and line breaks; and those that turn the direction of the text behind them."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one page, named as in its template."""

    template: ClassVar[str]


class InvalidFormView(View, frozen=True, kw_only=True):
    """The values of a page with a form alone, because of values in it that cannot be used; `errors` are messages by
    field, or by parameter.
    """

    template: ClassVar = "invalid_form.html"
    form_template: str
    title: str
    errors: Mapping[str, str]


def render(view: View, **common_values: Any) -> str:
    """Return the page of a view, with values that several pages have."""
    values = {name: getattr(view, name) for name in view.__struct_fields__}
    return _environment().get_template(view.template).render(common_values | values)


def _blank_control_characters(value: object) -> object:
    """Return an output value with blanks for control characters."""
    if not isinstance(value, str) or _CONTROL_CHARACTERS.search(value) is None:
        return value
    text = _CONTROL_CHARACTERS.sub(" ", value)
    return Markup(text) if isinstance(value, Markup) else text  # noqa: S704 - it was safe before


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Return the environment, created once: templates are compiled at their first use and never change."""
    environment = Environment(
        loader=PackageLoader("onhook.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_blank_control_characters,
    )
    environment.filters["fingerprint"] = format_fingerprint
    environment.globals.update({"_": _, "_n": _n})
    environment.globals.update({name: getattr(formatting, name) for name in formatting.FOR_TEMPLATES})
    environment.globals.update(asset=asset_path, is_loopback=is_loopback, WEBHOOK_MENU=WEBHOOK_MENU)
    environment.globals.update(export_filter_example=EXPORT_FILTER_EXAMPLE)
    environment.globals.update(list_field_changes=list_field_changes, describe_kind=describe_kind)
    environment.globals.update(find_command_pages=find_command_pages, filter_title=filter_title)
    environment.globals.update(get_language=get_language, languages=LANGUAGES, show_word=show_word)
    return environment
