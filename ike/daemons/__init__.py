"""IKE daemons behind one port (`ike.daemons.port`): strongSwan, Libreswan, and files for all the others."""
