"""Job: turn the bytes of a request into an acknowledged ledger entry, and serve the webhook port.

May import: lib, cdr, pbx, ledger.
Must not: read the application database or the store; do work that an acknowledgement would wait for.
"""
