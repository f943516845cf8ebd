"""Make a relocatable standalone archive of an installed CPython."""
