"""Job: the memory of what was said. Reports are appended durably, numbered, and read after a number.

May import: errors.
Never: understand a report.
"""
