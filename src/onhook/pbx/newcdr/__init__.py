"""Job: `NewCdr` of the older generations (S-Series, K2, Cloud PBX): into call details and back.

May import: cdr, errors, the contract `pbx.dialect`, `pbx.members`.
Never: input or output, another dialect.
"""
