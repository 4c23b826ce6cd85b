"""Backup and restore of a whole instance, in one encrypted file."""
