"""Fills a folder with the archives that requests would select, and names what a project's builds would provision."""
