"""All figures in one table: `make bench`, or `make bench ARGS=--big` with ten million records and events.

Without `--big` it takes some minutes, with it half an hour and some 15 GB of disk.
"""

import argparse

from bench import asterisk, backfill, call_end, console, delivery, idle, intake, pbx_api, projector, store
from bench.table import table

RECORDS = 1_000_000
RECORDS_BIG = 10_000_000
PROJECTED = 200_000
BACKFILLED = 200_000
BACKFILLED_BIG = 1_000_000
ASTERISK_CALLS = 2_000


def main() -> None:
    """Measure one after the other: together they would measure each other."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--big", action="store_true", help="ten million records and events")
    big = parser.parse_args().big
    records = RECORDS_BIG if big else RECORDS
    fetched = backfill.run(BACKFILLED_BIG if big else BACKFILLED)
    rows = [*intake.run(big=big), *projector.run(PROJECTED), *fetched, *asterisk.run(ASTERISK_CALLS), *delivery.run()]
    print(table([*rows, *idle.run(), *call_end.run(), *pbx_api.run(), *store.run(records), *console.run(records)]))


if __name__ == "__main__":
    main()
