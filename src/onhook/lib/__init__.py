"""Job: mechanics that every package may use: errors, messages, texts for display, clock, timestamps, signing, backoff,
lasting conditions, signals between processes, watching for changes, task reconciling, shared reads, deferred imports,
sockets, file locks, migrations.

May import: nothing.
Must not: know anything about calls or PBXs.
"""
