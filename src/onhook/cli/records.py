"""`onhook records`: records, the latest first."""

from collections.abc import Mapping

from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.filter_options import with_filters
from onhook.cli.formats import RECORD_COLUMNS, RECORD_TABLE, print_rows
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

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook records --since 7d --number 1001 --format csv")
@with_filters
async def records(
    filters: Mapping[str, str],
    limit: LimitOption = LIMIT_DEFAULT,
    output_format: FormatOption = "table",
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """List matching records: one for each leg of a call, with all fields of its event."""
    await _print_records(load_reader_config(data, zone), filters, limit, output_format)


async def _print_records(config: Config, filters: Mapping[str, str], limit: int, output_format: Format) -> None:
    async with await open_data_client(config) as client:
        await print_rows(
            client.records(filters, limit),
            output_format,
            get_zone(config.zone),
            RECORD_COLUMNS,
            RECORD_TABLE,
            is_filtered=bool(filters),
        )
