"""Searches through both passes, call by call, for the layer where something goes wrong."""
