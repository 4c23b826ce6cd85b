"""Requests that were spoiled by chance, for each door that devices knock on, and who sends very many of them."""
