"""The console script: shows the version by itself, and leaves everything else to `cli.main`.

The version needs no options, whose library takes longer than everything else that it does.
"""

import importlib
import sys

VERSION_REQUESTS = (["version"], ["--version"])


def main() -> int:
    """Run the command line; return the exit code."""
    has_streams = None not in (sys.stdin, sys.stdout, sys.stderr)
    if sys.argv[1:] in VERSION_REQUESTS and has_streams:
        return _show_version()
    return int(importlib.import_module("onhook.cli.main").main())


def _show_version() -> int:
    print(importlib.import_module("onhook.lib.versions").describe_versions())
    try:
        sys.stdout.flush()
    except OSError:
        # The text is still in the buffer: the next flush meets the same error.
        return int(importlib.import_module("onhook.cli.main").finish_output(0))
    return 0
