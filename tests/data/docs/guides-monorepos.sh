# Two projects in one repository: one needs a newer Python, the other does not.
rm -rf ./*
for name in app library; do
    mkdir -p "$name/$name"
    echo > "$name/$name/__init__.py"
done
cat > app/pyproject.toml <<'TOML'
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "app"
version = "1.0"
requires-python = ">=3.12"
TOML
cat > library/pyproject.toml <<'TOML'
[build-system]
requires = ["flit_core>=3.9"]
build-backend = "flit_core.buildapi"

[project]
name = "library"
version = "1.0"
description = "A library that any Python can have."
requires-python = ">=3.8"
TOML
