"""Abnormal negotiation: pure rules over SA events, with the bounds that make them right.

A `watch.Watch` takes events and gives alerts. It keeps each gateway's tunnels and their SAs (`lifecycle`), and the
sources that fail (`failures`); each rule module says what its condition is, why that is not normal, and what looks
alike and is let pass.
"""
