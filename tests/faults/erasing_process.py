"""A process that erases a number, and ends at once at one operation of its disk or engines.

Arguments: the data directory, the number of the operation, and `1` for an end after it has been done. Run with
`python -m tests.faults.erasing_process`.
"""

import asyncio
import sys
from pathlib import Path

from tests.faults.operations import FailingOperation, one_failing_operation
from tests.faults.test_each_erasure_operation import erase

if __name__ == "__main__":
    directory, number, is_late = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1"
    with one_failing_operation(FailingOperation(number, is_late=is_late, kills=True)):
        asyncio.run(erase(directory))
