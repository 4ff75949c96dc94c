"""The process that makes a PDF: HTML on standard input, the file on standard output."""

import importlib
import resource
import sys

MEMORY_BYTES_MAX = 1_500_000_000
PROCESSOR_SECONDS_MAX = 60


def main() -> None:
    """Read a page, and write the file. Nothing is loaded: no protocol is allowed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS_MAX, PROCESSOR_SECONDS_MAX))
    # An extra: without it this process is not started.
    weasyprint, urls = importlib.import_module("weasyprint"), importlib.import_module("weasyprint.urls")
    document = weasyprint.HTML(
        string=sys.stdin.buffer.read().decode(), url_fetcher=urls.URLFetcher(allowed_protocols=())
    )
    sys.stdout.buffer.write(document.write_pdf())


if __name__ == "__main__":
    main()
