"""Job: who may sign in: tokens, sessions, failed attempts, security headers.

May import: lib, config, appdb, console.
Must not: decide what a page shows.
"""
