"""YAML text to a tree of nodes that know their positions, and which texts a config comes from."""
