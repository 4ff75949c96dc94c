"""From the ledger to the store: every raw event is parsed and every call assembled, exactly once."""
