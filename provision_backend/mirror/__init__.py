"""Fill a folder with archives, check it, and select what the builds of a project would provision."""
