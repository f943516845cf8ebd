# Shared by scripts/demo and scripts/test: find interpreters, make environments. Sourced, not run.

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Prints "<version> <path>" of every CPython on the machine, oldest first, each once. Version managers put shims on
# PATH that fail for versions which are not chosen, so every candidate is started and asked. What is not there is no
# failure.
pythons() {
    local candidate
    {
        IFS=:
        for folder in $PATH; do
            ls -d "$folder"/python3 "$folder"/python3.[0-9] "$folder"/python3.[0-9][0-9] 2>/dev/null || true
        done
        unset IFS
        ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 2>/dev/null || true
        ls -d "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/*/bin/python3 2>/dev/null || true
        ls -d /opt/python*/bin/python3 2>/dev/null || true
    } | while read -r candidate; do
        "$candidate" -I -c '
import os, sys
try:
    import ensurepip, ssl, venv
except ImportError:
    sys.exit(1)
if sys.implementation.name == "cpython" and sys.version_info[3] == "final" and sys.prefix == sys.base_prefix:
    print("%d.%d.%d" % sys.version_info[:3], os.path.realpath(sys.executable))
' </dev/null 2>/dev/null || true
    done | sort -u -V
}

# Prints the path of the newest CPython from version $1 on, or nothing.
newest_python() {
    pythons | awk -v least="$1" '
        { split($1, have, "."); split(least, want, ".")
          if (have[1] > want[1] || (have[1] == want[1] && have[2] >= want[2])) path = $2 }
        END { if (path) print path }'
}

# Prints the path of the oldest CPython from version $1 on and below version $2, or nothing.
oldest_python() {
    pythons | awk -v least="$1" -v below="$2" '
        { split($1, have, "."); split(least, want, "."); split(below, end, ".")
          if (!path && have[1] == 3 && have[2] + 0 >= want[2] + 0 && have[2] + 0 < end[2] + 0) path = $2 }
        END { if (path) print path }'
}

# Installs Debian packages where that is possible; says what is missing otherwise.
apt_install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing with apt-get: $*"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
    else
        say "this needs the packages: $* (no root or no apt-get here to install them)"
        return 1
    fi
}

# Sets PYTHON to a CPython from version $1 on with venv and ssl.
need_python() {
    PYTHON=$(newest_python "$1")
    if [ -z "$PYTHON" ]; then
        apt_install python3 python3-venv || true
        PYTHON=$(newest_python "$1")
    fi
    [ -n "$PYTHON" ] || die "a CPython $1 or later with the modules venv and ssl is needed, and none was found"
}

# Makes the virtual environment $1 of the interpreter $2, anew where it belongs to another one.
make_venv() {
    if [ "$("$1/bin/python" -c 'import os, sys; print(os.path.realpath(sys.executable))' 2>/dev/null)" != "$2" ]; then
        rm -rf "$1"
        "$2" -I -m venv "$1"
    fi
}
