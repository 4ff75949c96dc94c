"""Modules that are imported when they are first used, where few runs use them and their import takes long."""

import importlib
from types import ModuleType
from typing import Any


class DeferredModule(ModuleType):
    """Stands for a module, which is imported when one of its attributes is read. Any thread may read it.

    A type checker, and the check of the ranks of packages, see the import itself:

        if TYPE_CHECKING:
            import pymysql
        else:
            pymysql = DeferredModule("pymysql")
    """

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the module. Raises `AttributeError`, and `ImportError` where it cannot be imported."""
        attribute = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, attribute)
        return attribute
