"""The settings, opened for a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from onhook.appdb.appdb import AppDb
from onhook.cli.options import configured
from onhook.ops.instance_lock import check_rights, nothing_kept, prepare_directory


@contextmanager
def open_settings(data: str | None, *, makes: bool = False) -> Iterator[AppDb]:
    """Open the settings of a data directory. Raises `NotFound` where there are none, unless it `makes` them."""
    config = configured(data=data)
    check_rights(config)
    if makes:
        prepare_directory(config)
    elif not config.settings_file.exists():
        raise nothing_kept(config)
    settings = AppDb(config.settings_file)
    try:
        yield settings
    finally:
        settings.close()
