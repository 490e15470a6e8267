"""Verification of a result, and its report as text, JSON and HTML."""
