"""Seawall: a redundant margin engine and clearing house for crypto derivatives."""

__version__ = "0.1.0"
