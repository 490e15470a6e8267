"""Two passes for onnxq: a rewrite and a plan pass, as small as they can be."""
