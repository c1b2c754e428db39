"""Korean text to jamo as pronounced; needs the extra `ko`."""
