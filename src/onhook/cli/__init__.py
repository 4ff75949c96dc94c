"""Job: the command line: one file per group of commands, each a thin shell around a room.

May import: all rooms.
Never: a rule; imported by nobody.
"""
