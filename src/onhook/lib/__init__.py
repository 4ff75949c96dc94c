"""Job: mechanics that every package may use: clock, errors, signing, timestamps.

May import: nothing.
Must not: know anything about calls or PBXs.
"""
