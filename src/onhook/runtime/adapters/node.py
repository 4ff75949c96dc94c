"""What a machine has of its own among several that share the application database, and what it has from them.

Invariants: a machine has a name that no other running one has. Its administrator's token is a row of the database, and
valid on all machines. The certificate of the PBX API is the same on all machines.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.cluster import SharedCertificate
from onhook.appdb.leases import NODE_PREFIX, LeaseHolder
from onhook.appdb.tokens import read_token_file
from onhook.config import Config
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _
from onhook.pbx_api.certificate import ensure_certificate, write_certificate

CERTIFICATE_NAME = "pbx_api"
NODE_ID_BYTES = 8


def node_lease(config: Config) -> str:
    """Return the name of the lease by which the hub of a machine has its name."""
    return f"{NODE_PREFIX}{config.node_name}"


def read_node_id(config: Config) -> str:
    """Return what no other data directory has; the first call makes it. Raises `Unavailable`."""
    path = config.node_file
    try:
        if not path.exists():
            partial_path = path.with_name(f"{path.name}.{os.getpid()}.part")
            partial_path.write_text(secrets.token_hex(NODE_ID_BYTES))
            partial_path.replace(path)
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(
            _("cannot read {name}: {error}", name=path.name, error=error),
            location=str(path),
            hint=_("check the permissions of the data directory"),
        ) from error


@asynccontextmanager
async def holding_node_name(
    config: Config, appdb: AppDb, clock: Clock
) -> AsyncIterator[tuple[LeaseHolder, asyncio.Event]]:
    """Have the name of this machine while the context is open; yield what renews it, and what is set once another hub
    has it. Raises `UsageError` where one has it already.
    """
    owner = await asyncio.to_thread(read_node_id, config)
    if await appdb.leases.is_held_by_another(node_lease(config), owner, now_us=clock.microseconds()):
        raise node_in_use_error(config)
    leases = LeaseHolder(appdb.leases, clock, owner)
    async with leases.holding(node_lease(config)) as lost:
        yield leases, lost


def node_in_use_error(config: Config) -> UsageError:
    """Return the error of a machine whose name another one has."""
    return UsageError(
        _("another hub runs under the name {node}", node=config.node_name),
        location="node",
        hint=_("give each machine, and each data directory, a name of its own with the setting `node`"),
    )


async def ensure_admin_token(config: Config, appdb: AppDb, clock: Clock) -> str:
    """Return the text of the administrator's token of this machine, and write it to its file. Raises `UsageError` where
    the token of another machine would end, `Unavailable`.
    """
    path, now_us = config.admin_token_file, clock.microseconds()
    if config.node_name and not await appdb.tokens.is_admin(read_token_file(path), now_us=now_us):
        owner = await asyncio.to_thread(read_node_id, config)
        if await appdb.leases.is_held_by_another(node_lease(config), owner, now_us=now_us):
            raise node_in_use_error(config)
    return await appdb.tokens.ensure_admin(path, now_us=now_us, node=config.node_name)


async def prepare_certificate(config: Config, appdb: AppDb, clock: Clock) -> None:
    """Generate the certificate of the PBX API and its key, or have those of the first machine that shares the
    application database. Raises `OnhookError`.
    """
    certificate, key = config.pbx_api_certificate_file, config.pbx_api_key_file
    if not config.node_name:
        ensure_certificate(certificate, key, config.pbx_api.host, clock.now())
        return
    shared = await appdb.cluster.certificate(CERTIFICATE_NAME)
    if shared is None:
        ensure_certificate(certificate, key, config.pbx_api.host, clock.now())
        own = await asyncio.to_thread(_read, certificate, key)
        shared = await appdb.cluster.add_certificate(CERTIFICATE_NAME, own)
    await asyncio.to_thread(_restore, certificate, key, shared)


def _restore(certificate: Path, key: Path, shared: SharedCertificate) -> None:
    """Write the files, unless they are there."""
    if not (certificate.exists() and key.exists() and _read(certificate, key) == shared):
        write_certificate(certificate, key, shared.certificate.encode(), shared.private_key.encode())


def _read(certificate: Path, key: Path) -> SharedCertificate:
    try:
        return SharedCertificate(certificate=certificate.read_text(), private_key=key.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(
            _("cannot read the certificate: {error}", error=error),
            location=str(certificate),
            hint=_("remove both files, then they are made anew"),
        ) from error
