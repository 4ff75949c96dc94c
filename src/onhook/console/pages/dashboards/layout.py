"""Tiles of a dashboard as a text in the URL, and its changes: pure.

>>> format_tiles(parse_tiles("calls:2,missed:4"))
'calls:2,missed:4'
"""

import re
from collections.abc import Sequence

from onhook.appdb.dashboards import TILES_MAX
from onhook.console.pages.dashboards.tiles import TILE_KINDS, WIDTHS, Tile
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

TILES_CHARACTERS_MAX = TILES_MAX * 44
"""Of all tiles in a URL."""

_TILE = re.compile(r"([a-z0-9-]{1,40}):([0-9]{1,2})")


def parse_tiles(text: str) -> list[Tile]:
    """Return the tiles of a text. Raises `UsageError`."""
    tiles = []
    for part in text.split(","):
        match = _TILE.fullmatch(part)
        if match is None or match[1] not in TILE_KINDS or int(match[2]) not in WIDTHS:
            raise UsageError(
                _("{tile} is no tile", tile=repr(part[:50])),
                parameter="tiles",
                hint=_("write the name of a kind and a width, such as calls:2"),
            )
        tiles.append(Tile(match[1], int(match[2])))
    if len(tiles) > TILES_MAX:
        raise UsageError(
            _("a dashboard has at most {limit} tiles", limit=TILES_MAX), parameter="tiles", hint=_("remove some")
        )
    return tiles


def format_tiles(tiles: Sequence[Tile]) -> str:
    """Return the text of tiles, in which `parse_tiles` reads them."""
    return ",".join(f"{tile.kind}:{tile.width}" for tile in tiles)


def move_tile(tiles: Sequence[Tile], number: int, distance: int) -> list[Tile]:
    """Return the tiles with one moved towards the end, or, by a negative distance, to the beginning.

    >>> format_tiles(move_tile(parse_tiles("calls:2,missed:4"), 1, -1))
    'missed:4,calls:2'
    """
    moved = [*tiles[:number], *tiles[number + 1 :]]
    moved.insert(max(0, number + distance), tiles[number])
    return moved


def resize_tile(tiles: Sequence[Tile], number: int, steps: int) -> list[Tile]:
    """Return the tiles with one wider by so many steps, or narrower; between the least and the greatest width.

    >>> [format_tiles(resize_tile(parse_tiles("calls:2"), 0, steps)) for steps in (1, -1)]
    ['calls:3', 'calls:2']
    """
    tile = tiles[number]
    place = min((place for place, width in enumerate(WIDTHS) if width >= tile.width), default=len(WIDTHS) - 1)
    width = WIDTHS[min(max(place + steps, 0), len(WIDTHS) - 1)]
    return [*tiles[:number], Tile(tile.kind, width), *tiles[number + 1 :]]


def remove_tile(tiles: Sequence[Tile], number: int) -> list[Tile]:
    """Return the tiles without one."""
    return [*tiles[:number], *tiles[number + 1 :]]
