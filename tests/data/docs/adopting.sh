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

# And one whose metadata are in setup.py.
mkdir old-project
printf '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n' > old-project/pyproject.toml
echo 'from setuptools import setup; setup(name="old", version="1")' > old-project/setup.py
