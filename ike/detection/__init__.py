"""Abnormal negotiation: pure rules over SA events, with the bounds that make them right."""
