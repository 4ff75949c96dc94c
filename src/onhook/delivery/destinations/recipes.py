"""Recipes: settings of requests for the interfaces of well-known systems, as data files.

Invariant: each file has the request that the system's documentation describes (`first`, with values of our own), and
where it is described; tests compare what its templates make with it. No recipe was ever sent to its vendor.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec

from onhook.appdb.destination_spec import FieldValue, NotifiesOf
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

_FOLDER = "recipes"
_SUFFIX = ".toml"


class DocumentedRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request as the system's documentation describes it, for the secret `SECRET`, and its response."""

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: str = ""
    response: str = ""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings for one system. `source` is the page of its documentation, `url` an address to complete, `secret` what
    its secret is, `notifies_of` what it is for. `first` is the request of a call's first event; `later` that of a later
    one, where it differs.
    """

    title: str
    source: str
    url: str
    secret: str
    notifies_of: NotifiesOf = "calls"
    headers: dict[str, str] = {}
    fields: dict[str, FieldValue] = {}
    accept_redirects: bool = False
    first: DocumentedRequest
    later: DocumentedRequest | None = None

    def apply(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a destination: those that are given, and the recipe's for all others."""
        return {
            "kind": "http",
            "notifies_of": self.notifies_of,
            "accept_redirects": self.accept_redirects,
            **values,
            "headers": self.headers | values.get("headers", {}),
            "fields": self.fields | values.get("fields", {}),
        }


@cache
def load_recipes() -> Mapping[str, Recipe]:
    """Return all recipes by name, in the order of their titles."""
    recipes = {
        file.name.removesuffix(_SUFFIX): msgspec.convert(tomllib.loads(file.read_text("utf-8")), Recipe)
        for file in (files(__package__) / _FOLDER).iterdir()
        if file.name.endswith(_SUFFIX)
    }
    return MappingProxyType(dict(sorted(recipes.items(), key=lambda item: item[1].title.casefold())))


def get_recipe(name: str) -> Recipe:
    """Return a recipe. Raises `UsageError`."""
    recipes = load_recipes()
    if name not in recipes:
        raise UsageError(
            _("there is no recipe {name}", name=repr(name[:80])),
            location="recipe",
            hint=_("use one of {choices}", choices=", ".join(recipes)),
        )
    return recipes[name]
