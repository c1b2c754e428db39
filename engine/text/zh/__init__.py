"""Chinese: normalization, readings, tone changes, phonemes."""
