"""Frozen records that the layers exchange, and the small grammars that more than one layer reads."""
