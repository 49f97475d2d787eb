"""Parts that formats share: words, single values, columns, selections, drawings."""
