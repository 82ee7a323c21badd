"""Larder: the analytics warehouse of a fresh-food network."""

__version__ = "0.1.0"
