"""The English frontend: normalisation and grapheme-to-phoneme to ARPAbet."""
