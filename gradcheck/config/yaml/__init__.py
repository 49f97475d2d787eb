"""YAML text to a tree of nodes with their positions, `--set`, and the search for config files."""
