"""The only importer of onnxruntime: sessions, observation, benchmark."""
