"""Written ceremonies: what shall be made, how it is made and kept to, and the signed transcript of it."""
