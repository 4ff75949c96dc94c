"""Job: SQL written by users, run in processes of their own on a copy of the store.

May import: lib, cdr, store.
Must not: open the store itself, or run a user's text in this process.
"""
