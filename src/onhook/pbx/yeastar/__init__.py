"""Job: the Yeastar P-Series: event 30012 into call details and back, its API to answer with and to ask.

May import: cdr, errors, the contracts `pbx.dialect` and `pbx.link`, `pbx.members`.
Never: input or output, another dialect.
"""
