"""Fill a folder with archives, check it, and name what a project's builds would provision."""
