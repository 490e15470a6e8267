"""Plan passes: each returns a new plan and never edits the model."""
