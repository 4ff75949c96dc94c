"""Job: how each PBX speaks, a folder per dialect, behind the contract in `dialect.py`.

May import: cdr, errors.
Never: input or output; one dialect never meets another.
"""
