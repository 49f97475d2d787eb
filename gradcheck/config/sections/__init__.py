"""The sections of a config as frozen models, one file each, and their common base."""
