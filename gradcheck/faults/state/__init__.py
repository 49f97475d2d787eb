"""GC205 and GC301 to GC306: mistakes with state that is kept between calls and between steps."""
