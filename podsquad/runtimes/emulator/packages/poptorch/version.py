"""The version: of the SDK whose behaviour is emulated, and that it is."""

__version__ = "3.3.0+emulated"
