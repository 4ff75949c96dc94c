"""Job: self-hosted call history, reports and webhooks for business telephone systems. The packages and their ranks
are in ARCHITECTURE.md.

May import: nothing.
Must not: hold code.
"""
