"""Make an unpacked tree usable at its final path, and start it once."""
