"""GC205 and GC301 to GC306: mistakes with what is remembered between calls and between steps."""
