"""What keeps a saved model from running on integers on a target, and what would go wrong there."""
