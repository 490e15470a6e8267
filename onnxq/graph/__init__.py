"""Reading, querying and editing graphs; knows nothing of quantization plans."""
