"""The passes: float rewrites, plan revisions and lowerings."""
