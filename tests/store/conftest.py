"""Fixtures of the store's tests."""

from tests.store.shelf import shelf

__all__ = ["shelf"]
