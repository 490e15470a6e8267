"""The evaluator: from a plan to its loss at the outputs, for thousands of plans."""
