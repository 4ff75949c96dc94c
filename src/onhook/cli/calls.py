"""`onhook calls`: calls, the latest first."""

from collections.abc import Mapping

from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.filter_options import with_filters
from onhook.cli.formats import CALL_COLUMNS, CALL_TABLE, print_rows
from onhook.cli.options import (
    LIMIT_DEFAULT,
    DataOption,
    Format,
    FormatOption,
    LimitOption,
    ZoneOption,
    load_config,
)
from onhook.cli.server_lookup import open_data_client
from onhook.config import Config

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook calls --since today --status 'no answer'")
@with_filters
async def calls(
    filters: Mapping[str, str],
    limit: LimitOption = LIMIT_DEFAULT,
    output_format: FormatOption = "table",
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """List matching calls, each once however many legs it has."""
    await _print_calls(load_config(data=data, zone=zone), filters, limit, output_format)


async def _print_calls(config: Config, filters: Mapping[str, str], limit: int, output_format: Format) -> None:
    async with await open_data_client(config) as client:
        await print_rows(client.calls(filters, limit), output_format, get_zone(config.zone), CALL_COLUMNS, CALL_TABLE)
