"""onnxq: from an exported ONNX model to a small, fast and proven quantized one."""
