"""Job: how Asterisk speaks: its manager interface (AMI) as a state machine, and its events as call details.

May import: cdr, errors, and `pbx/dialect.py`.
Never: input or output, a clock, another dialect.
"""
