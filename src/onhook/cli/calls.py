"""`onhook calls`: calls, the latest first."""

from collections.abc import Mapping
from typing import Annotated

import typer

from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.filter_options import with_search_filters
from onhook.cli.formats import CALL_COLUMNS, CALL_TABLE, print_followed_rows, print_rows
from onhook.cli.options import (
    LIMIT_DEFAULT,
    DataOption,
    Format,
    FormatOption,
    LimitOption,
    ZoneOption,
    load_reader_config,
)
from onhook.cli.server_lookup import open_data_client
from onhook.config import Config
from onhook.lib.messages import _

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook calls --since today --status 'no answer'")
@with_search_filters
async def calls(
    filters: Mapping[str, str],
    *,
    limit: LimitOption = LIMIT_DEFAULT,
    output_format: FormatOption = "table",
    follow: Annotated[bool, typer.Option("--follow", help=_("Print calls as they end, until stopped"))] = False,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """List matching calls, each once however many legs it has."""
    config = load_reader_config(data, zone)
    if follow:
        await _follow_calls(config, filters, output_format)
    else:
        await _print_calls(config, filters, limit, output_format)


async def _follow_calls(config: Config, filters: Mapping[str, str], output_format: Format) -> None:
    async with await open_data_client(config) as client:
        rows = client.follow(filters)
        await print_followed_rows(rows, output_format, get_zone(config.zone), CALL_COLUMNS, CALL_TABLE)


async def _print_calls(config: Config, filters: Mapping[str, str], limit: int, output_format: Format) -> None:
    async with await open_data_client(config) as client:
        await print_rows(
            client.calls(filters, limit),
            output_format,
            get_zone(config.zone),
            CALL_COLUMNS,
            CALL_TABLE,
            is_filtered=bool(filters),
        )
