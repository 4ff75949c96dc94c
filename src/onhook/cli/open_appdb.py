"""The settings, opened for a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from onhook.appdb.appdb import AppDb
from onhook.cli.options import load_config
from onhook.ops.instance_lock import check_data_directory, no_data_error, prepare_directory


@contextmanager
def open_appdb(data: str | None, *, makes: bool = False) -> Iterator[AppDb]:
    """Open the settings of a data directory. Raises `NotFound` where there are none, unless it `makes` them."""
    config = load_config(data=data)
    check_data_directory(config)
    if makes:
        prepare_directory(config)
    elif not config.settings_file.exists():
        raise no_data_error(config)
    appdb = AppDb(config.settings_file)
    try:
        yield appdb
    finally:
        appdb.close()
