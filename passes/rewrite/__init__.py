"""Rewrites: float to float, the same function."""
