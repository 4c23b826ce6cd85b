"""Spans, as a collector gets them."""
