"""Job: follow the ledger into the store: every raw event is parsed, every call assembled, every control entry applied.

May import: lib, cdr, pbx, ledger, store.
Must not: read the application database; write to the ledger anything but control entries.
"""
