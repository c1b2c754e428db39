"""Cantonese text to initials and finals with tones; needs the extra `yue`."""
