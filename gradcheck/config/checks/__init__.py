"""Checks of a config beyond the form of each section: between sections, in files, in names, for safety."""
