"""Fill a folder with the archives and wheels that builds need, and check it."""
