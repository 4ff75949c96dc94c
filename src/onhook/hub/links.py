"""All kinds of PBX that can be asked through an API: one line each."""

from collections.abc import Mapping

from onhook.pbx.link import Link
from onhook.pbx.yeastar.link import YeastarLink


def all_links() -> Mapping[str, Link]:
    """By the names of their dialects."""
    return {"yeastar": YeastarLink()}
