"""Rendering of templates. All values are escaped: a caller's name is hostile input."""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from onhook.console.pages import formatting
from onhook.console.pages.assets import asset_path
from onhook.lib.messages import _, _n


def render(template: str, **values: Any) -> str:
    """Return the page of a template with these values."""
    return _environment().get_template(template).render(values)


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
