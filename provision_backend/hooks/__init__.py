"""Run the hooks of PEP 517 and PEP 660: here, or in a build environment of another interpreter."""
