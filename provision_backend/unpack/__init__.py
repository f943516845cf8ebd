"""Make a folder of an archive without trusting it."""
