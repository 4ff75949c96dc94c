"""Editing of a dashboard without a script: each change of its tiles is a link; nothing is stored until it is saved."""

from collections.abc import Mapping, Sequence

import msgspec

from onhook.appdb.dashboards import TILES_MAX
from onhook.cdr.access_scope import AccessScope
from onhook.console.pages.dashboards.layout import format_tiles, move_tile, remove_tile, resize_tile
from onhook.console.pages.dashboards.tiles import TILE_KINDS, Tile
from onhook.console.pages.formatting import url
from onhook.lib.messages import _


class TileEdit(msgspec.Struct, frozen=True, kw_only=True):
    """The URLs that change a tile; empty where it would have no effect."""

    earlier: str
    later: str
    narrower: str
    wider: str
    remove: str


class DashboardEditor(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of a dashboard: those of each tile by its number, and the URLs that add one, by group and title."""

    tiles: str
    edits: Mapping[int, TileEdit]
    additions: Sequence[tuple[str, Sequence[tuple[str, str]]]]


def create_editor(tiles: Sequence[Tile], query: Mapping[str, object], scope: AccessScope | None) -> DashboardEditor:
    """Return the changes of these tiles, for a reader of this scope; `query` are the other parameters of links."""
    return DashboardEditor(
        tiles=format_tiles(tiles),
        edits={number: _edit_tile(tiles, number, query) for number in range(len(tiles))},
        additions=_list_additions(tiles, query, scope),
    )


def _edit_tile(tiles: Sequence[Tile], number: int, query: Mapping[str, object]) -> TileEdit:
    changes = {
        "earlier": (move_tile(tiles, number, -1), number - 1),
        "later": (move_tile(tiles, number, 1), number + 1),
        "narrower": (resize_tile(tiles, number, -1), number),
        "wider": (resize_tile(tiles, number, 1), number),
        "remove": (remove_tile(tiles, number), max(number - 1, 0)),
    }
    return TileEdit(
        **{
            name: "" if changed in (list(tiles), []) else _edit_url(changed, place, query)
            for name, (changed, place) in changes.items()
        }
    )


def _list_additions(
    tiles: Sequence[Tile], query: Mapping[str, object], scope: AccessScope | None
) -> list[tuple[str, list[tuple[str, str]]]]:
    if len(tiles) >= TILES_MAX:
        return []
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, kind in TILE_KINDS.items():
        if kind.is_visible(scope):
            added = [*tiles, Tile(name, kind.width)]
            groups.setdefault(_(kind.group), []).append((_(kind.title), _edit_url(added, len(tiles), query)))
    return list(groups.items())


def _edit_url(tiles: Sequence[Tile], number: int, query: Mapping[str, object]) -> str:
    """Return the URL of changed tiles; it leads to the changed one, so that keyboard and scroll position stay there."""
    return url("/", **{**query, "edit": "yes", "tiles": format_tiles(tiles)}) + f"#tile-{number}"
