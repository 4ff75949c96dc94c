"""Job: the Yeastar P-Series: event 30012 into call details and back.

May import: cdr, errors, the contract `pbx.dialect`.
Never: input or output, another dialect.
"""
