"""What the daemons' configuration comes to: algorithms, lifetimes, who may connect, and how it is proved."""
