"""Rollovers: another key takes the place of an authority's, in phases that can be taken back; cross-certificates."""
