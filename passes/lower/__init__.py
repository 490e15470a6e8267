"""Lowerings: (model, plan) to a new model; they decide nothing."""
