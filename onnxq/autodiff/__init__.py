"""Reverse mode: a model → a model that computes gradients, run by onnxruntime."""
