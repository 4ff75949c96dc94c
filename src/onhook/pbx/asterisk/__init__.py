"""Job: the protocol of Asterisk: its manager interface (AMI) as a state machine, and its events as call details.

May import: lib, cdr, and the contracts of `pbx/`.
Must not: do input or output, read a clock, import another dialect.
"""
