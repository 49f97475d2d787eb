"""GC101 to GC109: mistakes where one segment hands over to the next."""
