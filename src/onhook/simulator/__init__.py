"""Job: a simulated office: callers, IVR, queues and agents whose calls are sent as a PBX would send them.

May import: lib, cdr, config, pbx, appdb, pbx_api.
Must not: depend on what the receiving side stores.
"""
