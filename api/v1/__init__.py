"""The routes under /v1, a module per noun. A view decodes nothing and decides nothing: it calls
one operation.
"""
