"""Job: `NewCdr` of the older Yeastar generations (S-Series, K2, Cloud PBX): parse into call details and format.

May import: lib, cdr, and the contracts of `pbx/`.
Must not: do input or output, import another dialect.
"""
