"""Configs as a command line names them: loaded with its options, and run in workers."""
