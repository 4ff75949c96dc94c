"""`/schema`: the API in OpenAPI 3.1, as JSON, as YAML, and as a plain page."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from litestar import Request
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from onhook.console.auth.access import get_principal
from onhook.console.pages.rendering import View, render

API_VERSION = "1"

METHODS = ("get", "post", "put", "patch", "delete")
"""In the order of the page."""


class SchemaView(View, frozen=True, kw_only=True):
    """Values of the page: the routes of the API by tag, each with its method and path."""

    template: ClassVar = "api.html"
    schema: Mapping[str, Any]
    groups: Mapping[str, Sequence[tuple[str, str, Any]]]


class SchemaPage(OpenAPIRenderPlugin):
    """The routes as a table."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the page for the schema."""
        view = SchemaView(schema=openapi_schema, groups=_group_by_tag(openapi_schema["paths"]))
        return render(view, principal=get_principal(request.scope), menu_page=request.url.path).encode()


def _group_by_tag(paths: dict[str, Any]) -> dict[str, list[tuple[str, str, Any]]]:
    """Return method, path and description of each route, by the first of its tags; the rest under `other`."""
    groups: dict[str, list[tuple[str, str, Any]]] = {}
    for path, methods in sorted(paths.items()):
        for method in METHODS:
            if method in methods:
                tag = (methods[method].get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append((method, path, methods[method]))
    return dict(sorted(groups.items()))


def openapi_config() -> OpenAPIConfig:
    """Return the configuration of the schema: its path and the description of access."""
    scheme = SecurityScheme(type="http", scheme="bearer", description="A token: `onhook token add NAME`")
    return OpenAPIConfig(
        title="Onhook",
        version=API_VERSION,
        description="Call history: records, calls, summaries, exports, live events.",
        path="/schema",
        components=Components(security_schemes={"token": scheme}),
        use_handler_docstrings=True,
        render_plugins=[SchemaPage(), JsonRenderPlugin(), YamlRenderPlugin()],
    )
