# A checkout where the page has it; its wheel needs flit_core, and what the page installs comes from an index.
ln -s "$(dirname "$SAMPLE")" ~/provision-backend
unset PIP_NO_INDEX

# A project as its maintainer has it, before we come.
cat > pyproject.toml <<'TOML'
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "greeting"
version = "1.0"
requires-python = ">=3.12"
TOML
rm -rf src *.py
mkdir greeting
printf '"""Says hello."""\ntype Name = str\n' > greeting/__init__.py
