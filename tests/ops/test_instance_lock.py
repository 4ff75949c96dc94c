"""Renaming files of an older version in the data directory."""

import tarfile
from pathlib import Path

import pytest

from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.host import check_installation
from onhook.ops.instance_lock import prepare_directory, rename_old_files
from onhook.runtime.data_files import open_files

ARCHIVE = Path(__file__).parents[1] / "data_directories" / "fac98bd.tar.xz"
NAMES = {"exchange.crt": "pbx_api.crt", "exchange.key": "pbx_api.key"}


def file_contents(config: Config) -> dict[str, bytes]:
    names = (*NAMES, *NAMES.values())
    return {name: (config.data / name).read_bytes() for name in names if (config.data / name).exists()}


@pytest.fixture
def old_config(tmp_path: Path) -> Config:
    """Return the configuration of a data directory of an older version."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Config(data=tmp_path / "onhook-data")


async def test_open_files_old_directory_renames_the_certificate(old_config: Config) -> None:
    old_contents = file_contents(old_config)
    assert set(old_contents) == set(NAMES)
    mode = (old_config.data / "exchange.key").stat().st_mode
    old_config.store_file.unlink()
    async with open_files(old_config):
        pass
    assert file_contents(old_config) == {NAMES[name]: content for name, content in old_contents.items()}
    assert old_config.pbx_api_key_file.stat().st_mode == mode


def test_prepare_directory_old_directory_renames_the_certificate(old_config: Config) -> None:
    prepare_directory(old_config)
    assert set(file_contents(old_config)) == set(NAMES.values())


async def test_check_installation_old_directory_renames_the_certificate(old_config: Config) -> None:
    assert [check.status async for check in check_installation(old_config, SystemClock())]
    assert set(file_contents(old_config)) == set(NAMES.values())


def test_rename_old_files_cut_short_is_finished_the_next_time(old_config: Config) -> None:
    contents = file_contents(old_config)
    (old_config.data / "exchange.key").rename(old_config.data / "pbx_api.key")
    rename_old_files(old_config)
    rename_old_files(old_config)
    assert file_contents(old_config) == {NAMES[name]: content for name, content in contents.items()}


def test_rename_old_files_new_file_is_never_replaced(old_config: Config) -> None:
    (old_config.data / "pbx_api.crt").write_bytes(b"new")
    rename_old_files(old_config)
    assert file_contents(old_config)["pbx_api.crt"] == b"new"


def test_rename_old_files_file_named_by_a_setting_stays(old_config: Config) -> None:
    certificate, key = old_config.data / "exchange.crt", old_config.data / "exchange.key"
    config = Config(data=old_config.data, pbx_api_certificate=str(certificate), pbx_api_key=str(key))
    rename_old_files(config)
    assert set(file_contents(old_config)) == set(NAMES)
