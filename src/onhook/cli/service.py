"""`onhook service`: Onhook as a service of systemd."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from onhook.cli.commands import CommandGroup
from onhook.cli.options import option_with_default, print_note
from onhook.cli.serve import ConsoleOption, IntakeOption, PbxApiOption, ServeZoneOption
from onhook.config import parse_address, parse_path, parse_zone
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.ops.service_units import (
    SERVICE_NAME,
    SOCKET_NAME,
    UNIT_DIRECTORY,
    UnitSettings,
    check_settings,
    create_files,
    find_hidden_directory,
    parse_units,
)

app = CommandGroup(
    help=_("Run Onhook as a service of systemd."),
    epilog="Example: onhook service install",
    add_completion=False,
)

COMMAND_SECONDS_MAX = 600.0
"""Of one command of systemd: the start of the server has five minutes."""

UNIT_MODE = 0o644
SHOWN_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "StatusText")

ServiceDataOption = Annotated[
    str | None,
    option_with_default("--data", metavar="DIR", help_text=_("Data directory"), default="/var/lib/onhook"),
]
UserOption = Annotated[
    str | None, option_with_default("--user", metavar="NAME", help_text=_("User of the service"), default="onhook")
]
ProgramOption = Annotated[
    str | None,
    option_with_default(
        "--program", metavar="FILE", help_text=_("Program of the service"), default=_("this installation")
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="DIR", help=_("Use the files in this system, and start nothing"), show_default=False
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help=_("Go on without a question"))]


@app.command(epilog="Example: onhook service install --zone Europe/Berlin")
def install(
    *,
    print_only: Annotated[bool, typer.Option("--print", help=_("Print the files, and change nothing"))] = False,
    yes: YesOption = False,
    data: ServiceDataOption = None,
    intake: IntakeOption = None,
    console: ConsoleOption = None,
    pbx_api: PbxApiOption = None,
    zone: ServeZoneOption = None,
    user: UserOption = None,
    program: ProgramOption = None,
    root: RootOption = None,
) -> None:
    """Write the units of systemd, enable and start them, after showing what is done. Run again, it keeps the settings
    that are not given, writes the units anew, and restarts the service.
    """
    earlier = _read_installed_settings(root)
    options = dict(zip(earlier.options[::2], earlier.options[1::2], strict=True))
    for option, value in (("--console", console), ("--pbx-api", pbx_api)):
        options |= {option: str(parse_address(value, option))} if value else {}
    options |= {"--zone": parse_zone(zone, "--zone")} if zone else {}
    settings = UnitSettings(
        program=program or str(Path(sys.executable).with_name("onhook")),
        user=user or earlier.user,
        data=str(parse_path(data, "--data")) if data else earlier.data,
        intake=parse_address(intake, "--intake") if intake else earlier.intake,
        options=tuple(chain.from_iterable(options.items())),
    )
    if print_only:
        _print_files(settings)
        return
    check_settings(settings)
    _check_root_user(root, "install")
    changed_paths = [path for path, text in create_files(settings).items() if _read_text(_locate(path, root)) != text]
    commands = [] if root else _install_commands(settings, changed_paths)
    _confirm([*(_("write {path}", path=_locate(path, root)) for path in changed_paths), *map(_describe, commands)], yes)
    for path in changed_paths:
        _write(_locate(path, root), create_files(settings)[path])
    _run(commands)
    print(_("The service is installed: `onhook service status` shows it."))


@app.command(epilog="Example: onhook service uninstall")
def uninstall(*, yes: YesOption = False, root: RootOption = None) -> None:
    """Stop the service and remove its units, after showing what is done. The data directory and the user stay."""
    _check_root_user(root, "uninstall")
    paths = [path for name in create_files(UnitSettings()) if (path := _locate(name, root)).exists()]
    if not paths:
        raise UsageError(_("the service is not installed"), hint=_("`onhook service install` installs it"))
    stop = [] if root else [("systemctl", "disable", "--now", SERVICE_NAME, SOCKET_NAME)]
    reload = [] if root else [("systemctl", "daemon-reload")]
    _confirm([*map(_describe, stop), *(_("remove {path}", path=path) for path in paths), *map(_describe, reload)], yes)
    _run(stop)
    for path in paths:
        path.unlink()
    _run(reload)
    print(_("The service was removed. The data directory and the user are still there."))


@app.command(epilog="Example: onhook service status")
def status() -> None:
    """Show the state of the service; fails where it does not run."""
    text = _read_output(("systemctl", "show", f"--property={','.join(SHOWN_PROPERTIES)}", SERVICE_NAME, SOCKET_NAME))
    units = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    for unit in units:
        print(_describe_unit(unit))
    if not any(unit.get("Id") == SERVICE_NAME and unit.get("ActiveState") == "active" for unit in units):
        raise OnhookError(
            _("the service does not run"),
            hint=_("`journalctl -u onhook` shows why; `systemctl start onhook` starts it"),
        )


def _describe_unit(unit: dict[str, str]) -> str:
    name = f"{unit.get('Id', '?'):<16}"
    if unit.get("LoadState") == "not-found":
        return name + _("not installed: `onhook service install` installs it")
    state = f"{unit.get('ActiveState', '?')} ({unit.get('SubState', '?')})"
    parts = [state, unit.get("UnitFileState", "")]
    if unit.get("MainPID", "0") != "0":
        parts.append(_("process {pid}", pid=unit["MainPID"]))
        parts.append(_("restarts: {count}", count=unit.get("NRestarts", "0")))
    return name + ", ".join(filter(None, [*parts, unit.get("StatusText")]))


def _read_installed_settings(root: str | None) -> UnitSettings:
    """Return the settings of the units that are installed; the defaults without any. Raises `UsageError`."""
    service_text = _read_text(_locate(f"{UNIT_DIRECTORY}/{SERVICE_NAME}", root))
    socket_text = _read_text(_locate(f"{UNIT_DIRECTORY}/{SOCKET_NAME}", root))
    return UnitSettings() if service_text is None or socket_text is None else parse_units(service_text, socket_text)


def _print_files(settings: UnitSettings) -> None:
    for path, text in create_files(settings).items():
        print(f"# {path}\n{text}")
    for path in (settings.program, settings.data):
        if directory := find_hidden_directory(path):
            print_note(_("the service cannot see {path}: {directory} is hidden", path=path, directory=directory))


def _install_commands(settings: UnitSettings, changed_paths: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the commands that follow the files, in their order."""
    commands: list[tuple[str, ...]] = [("systemd-sysusers", "/etc/sysusers.d/onhook.conf")]
    if not settings.has_state_directory:
        owner = ("-o", settings.user, "-g", settings.user)
        commands.append(("install", "-d", "-m", "0700", *owner, settings.data))
    commands.append(("systemctl", "daemon-reload"))
    socket_path = next(path for path in create_files(settings) if path.endswith(SOCKET_NAME))
    if socket_path in changed_paths and Path(socket_path).exists():
        # A socket moves to another address only while nothing uses it.
        commands.append(("systemctl", "stop", SERVICE_NAME, SOCKET_NAME))
    commands.append(("systemctl", "enable", SOCKET_NAME, SERVICE_NAME))
    commands.append(("systemctl", "start", SOCKET_NAME))
    commands.append(("systemctl", "restart", SERVICE_NAME))
    return commands


def _check_root_user(root: str | None, command: str) -> None:
    if root is None and os.geteuid() != 0:
        raise UsageError(
            _("only root can change the services of this machine"),
            hint=_("run `sudo onhook service {command}`", command=shlex.quote(command)),
        )


def _locate(path: str, root: str | None) -> Path:
    return Path(path) if root is None else Path(root) / path.lstrip("/")


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    """Write a file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f".{path.name}.part")
    partial_path.write_text(text, "utf-8")
    partial_path.chmod(UNIT_MODE)
    partial_path.replace(path)


def _describe(command: Sequence[str]) -> str:
    return _("run {command}", command=shlex.join(command))


def _confirm(steps: Sequence[str], yes: bool) -> None:
    """Print the steps, and return where a person agrees. Raises `UsageError`."""
    print("\n".join([_("This will:"), *(f"  {step}" for step in steps)]))
    if yes:
        return
    try:
        is_confirmed = typer.confirm(_("Go on?"))
    except typer.Abort:
        raise UsageError(_("nothing was changed"), hint=_("answer the question, or add --yes")) from None
    if not is_confirmed:
        raise UsageError(_("nothing was changed"))


def _run(commands: Sequence[Sequence[str]]) -> None:
    for command in commands:
        _read_output(command)


def _read_output(command: Sequence[str]) -> str:
    """Run a command; return what it prints. Raises `OnhookError`."""
    program = shutil.which(command[0])
    if program is None:
        raise OnhookError(
            _("{program} is not installed", program=command[0]), hint=_("this takes a machine with systemd")
        )
    try:
        result = subprocess.run(  # noqa: S603 - fixed words and checked settings, no shell
            [program, *command[1:]], capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OnhookError(
            _("`{command}` did not end in time", command=shlex.join(command)), hint=_("see `journalctl -u onhook`")
        ) from error
    if result.returncode:
        reason = " ".join(result.stderr.split()).rstrip(".") or _("exit code {code}", code=result.returncode)
        raise OnhookError(
            _("`{command}` failed: {reason}", command=shlex.join(command), reason=reason),
            hint=_("see `journalctl -u onhook`"),
        )
    return result.stdout
