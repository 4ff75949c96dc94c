"""Job: the record. Call details, identity, time, journey and filter as pure values and rules.

May import: errors.
Never: input or output, a clock, a PBX's dialect.
"""
