"""Modules that all commands share: options, standard output and error, files, and the text of errors."""
