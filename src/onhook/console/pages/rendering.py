"""Rendering of templates. All values are escaped: a caller's name is hostile input."""

from functools import lru_cache
from typing import Any, ClassVar

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from onhook.console.pages import formatting
from onhook.console.pages.assets import asset_path
from onhook.lib.messages import _, _n


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one page, named as in its template."""

    template: ClassVar[str]


def render(view: View, **common_values: Any) -> str:
    """Return the page of a view, with values that several pages have."""
    values = {name: getattr(view, name) for name in view.__struct_fields__}
    return _environment().get_template(view.template).render(common_values | values)


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
    )
    environment.globals.update({"_": _, "_n": _n})
    environment.globals.update({name: getattr(formatting, name) for name in formatting.FOR_TEMPLATES}, asset=asset_path)
    return environment
