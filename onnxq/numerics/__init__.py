"""Pure numpy numerics: affine quantization, statistics, range search. Knows no model."""
