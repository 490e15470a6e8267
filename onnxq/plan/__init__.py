"""The quantization plan and the targets it is made for."""
