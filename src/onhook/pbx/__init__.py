"""Job: the protocols of each PBX, one folder per dialect, behind the contracts `dialect.py`, `client.py`,
`connection.py` and `cdr_archive.py`.

May import: lib, cdr.
Must not: do input or output, or import one dialect from another.
"""
