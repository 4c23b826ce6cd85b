"""The commands, a module per noun. Each is imported when it is called, and not before."""
