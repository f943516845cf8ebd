# Shared by the scripts of this folder and of tests/fixtures: find interpreters, make environments, install what is
# missing, show how far a long step is. Sourced, not run.

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

# Prints the path of the newest CPython from version $1 on, or nothing. With a second argument, none whose path begins
# with that.
newest_python() {
    pythons | awk -v least="$1" -v not="${2:-}" '
        { split($1, have, "."); split(least, want, ".")
          if (not != "" && index($2, not) == 1) next
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

# Runs a command, writes all that it prints to the file $2, and sets CODE to its exit status. Every 15 seconds a line
# says how long it has run and what `progress_of` makes of that file; on a terminal one line says so all the time. The
# command runs in the foreground, so that Ctrl-C ends it. It has `set -e`, which bash ignores in whatever is part of a
# condition: hence CODE, and no exit status.
watched() { # watched LABEL FILE COMMAND...
    local label=$1 file=$2 watcher
    shift 2
    : >"$file"
    (
        started=$SECONDS begin= end='\n' every=15
        if [ -t 2 ]; then begin='\r\033[K' end= every=1; fi
        next=$every
        while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
            elapsed=$((SECONDS - started))
            if [ $elapsed -ge $next ]; then
                printf "$begin  %s: %s s  %.60s$end" "$label" "$elapsed" "$(progress_of "$file")" >&2
                next=$((elapsed + every))
            fi
        done
    ) </dev/null 9>&- &
    watcher=$!
    set +e
    ( set -e; "$@" ) >"$file" 2>&1 </dev/null 9>&-
    CODE=$?
    set -e
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    [ ! -t 2 ] || printf '\r\033[K' >&2
}
# Prints what a line of `watched` says of a command; a script may define another one.
progress_of() { # progress_of FILE
    awk 'NF { line = $0 } END { print line }' "$1"
}

# Runs a command as `watched` does, and ends with the last lines of what it printed where it fails.
must_work() { # must_work LABEL FILE COMMAND...
    watched "$@"
    [ "$CODE" = 0 ] || { tail -n 15 "$2" >&2; die "$1 failed; all that it printed is in $2"; }
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Installs Debian packages, which must have been announced, where that is possible; fails where it is not.
apt_install() {
    can_install || return 1
    local log
    log=$(mktemp)
    watched "apt-get" "$log" apt_get "$@"
    [ "$CODE" = 0 ] || tail -n 5 "$log" >&2
    rm -f "$log"
    return "$CODE"
}
apt_get() {
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# Says that $1 is missing and each way to get it, and ends. An administrator installs the Debian packages $2.
die_without() { # die_without WHAT PACKAGES [FURTHER LINE]...
    say "$1"
    say "Nothing was changed. One of these helps; then run $0 again:"
    if command -v apt-get >/dev/null; then
        say "  an administrator    apt-get install $2"
    else
        say "  an administrator    installs Python 3.12 or later with the package manager of this system"
    fi
    say "  with uv             uv python install 3.13     (uv itself: pip install uv, or its own installer)"
    say "  with pyenv          pyenv install 3.13"
    [ $# -lt 3 ] || printf '  %s\n' "${@:3}" >&2
    exit 1
}

# Sets PYTHON to a CPython from version $1 on with venv and ssl.
need_python() {
    PYTHON=$(newest_python "$1")
    if [ -z "$PYTHON" ] && can_install; then
        say "no CPython $1 or later with venv and ssl is here: installing python3 and python3-venv with apt-get (about 30 s)"
        apt_install python3 python3-venv || true
        PYTHON=$(newest_python "$1")
    fi
    [ -n "$PYTHON" ] || die_without "No CPython $1 or later with the modules venv, ensurepip and ssl is here." "python3 python3-venv"
}

# Prints the path of the interpreter that the virtual environment $1 belongs to, or nothing.
python_of() {
    "$1/bin/python" -c 'import os, sys; print(os.path.realpath(sys.executable))' 2>/dev/null || true
}

# Installs the newest of what is named into the virtual environment $1. By uv, which takes seconds where pip takes most
# of a minute; uv does not read pip's configuration, so where it finds not everything pip does it.
install_into() { # install_into DIR ARGUMENTS-OF-PIP-INSTALL...
    local python=$1/bin/python
    shift
    "$python" -m pip install --disable-pip-version-check uv &&
        "$python" -m uv pip install --python "$python" --link-mode copy --upgrade "$@" ||
        "$python" -m pip install --disable-pip-version-check --upgrade "$@"
}

# Makes the virtual environment $1 of the interpreter $2, anew where it belongs to another one.
make_venv() {
    if [ "$(python_of "$1")" != "$2" ]; then
        rm -rf "$1"
        "$2" -I -m venv "$1"
    fi
}
