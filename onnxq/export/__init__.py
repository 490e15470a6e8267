"""Folders of raw files for hardware and firmware: test vectors, and a model as plain tables."""
