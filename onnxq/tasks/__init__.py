"""What "good" means at a model's outputs: classification, detection, generic."""
