"""The geometry of the drawings in the HTML reports: positions, tones and words, without any markup."""
