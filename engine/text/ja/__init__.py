"""Japanese text to phonemes with pitch accent; needs the extra `ja`."""
