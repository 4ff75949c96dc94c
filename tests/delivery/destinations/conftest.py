"""Which tests of the contract suites are slow."""

import pytest

from tests.delivery.destinations.contract import DestinationContract


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `DestinationContract.slow_tests` names, before some are selected by their marks."""
    for item in items:
        if not isinstance(item, pytest.Function) or not issubclass(item.cls or object, DestinationContract):
            continue
        if item.originalname in item.cls.slow_tests:
            item.add_marker(pytest.mark.slow)
