"""What the formats share: words, single values, columns, selections, drawings."""
