"""Opens a destination by its kind, and imports the module of the kind then: a missing library stops no other kind."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.contract import DestinationClient, OpenDestination
from onhook.delivery.destinations.kinds import KINDS, DestinationKind, check_kind
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

OpenClient = Callable[[Config, DestinationSpec, Sequence[str]], DestinationClient]
"""The function `open_client` of each kind's module."""


def destination_opener(config: Config) -> OpenDestination:
    """Return the function that opens destinations of every kind."""

    def open_destination(spec: DestinationSpec, secrets: Sequence[str]) -> DestinationClient:
        check_kind(spec)
        return load_kind(KINDS[spec.kind])(config, spec, secrets)

    return open_destination


def load_kind(kind: DestinationKind) -> OpenClient:
    """Return the function that opens clients of a kind. Raises `UsageError` where its library is not installed."""
    try:
        return cast("OpenClient", import_module(kind.module).open_client)
    except ModuleNotFoundError as error:
        if not kind.library or not f"{error.name}.".startswith(f"{kind.library}."):
            raise
        raise UsageError(
            _("destinations of the kind {kind} need the library {library}", kind=kind.title, library=kind.library),
            hint=_(
                "run `make install BROKERS=1`, or install the package with the extra {extra}; then start again",
                extra=kind.extra,
            )
            if kind.extra
            else _("install it beside Onhook, and start again"),
        ) from error
