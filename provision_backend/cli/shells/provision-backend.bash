# provision-backend for bash; made by 'provision-backend completions bash'.
_provision_backend() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command="" at=1 words="" kind="" i
    [[ ${COMP_WORDS[1]} == @(cache) ]] && at=2
    for ((i = 1; i < COMP_CWORD && i <= at; i++)); do command+="${command:+ }${COMP_WORDS[i]}"; done
    # readline breaks words at =, so --option=value is three words.
    [[ $cur == "=" ]] && cur=""
    [[ $prev == "=" ]] && prev=${COMP_WORDS[COMP_CWORD-2]}
    case $command in
        '') words="detect list find install uninstall run pack mirror lock init settings doctor completions cache help --help --version" ;;
        'cache') words="dir list verify prune clean key" ;;
        'detect') case $prev in
            --root) kind=folders ;;
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--root --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else :; fi ;;
        esac ;;
        'list') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--all --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=other; fi ;;
        esac ;;
        'find') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=other; fi ;;
        esac ;;
        'install') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--upgrade --compile-bytecode --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=other; fi ;;
        esac ;;
        'uninstall') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--all --force --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=other; fi ;;
        esac ;;
        'run') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=other; fi ;;
        esac ;;
        'pack') case $prev in
            --to) kind=folders ;;
            --tag) kind=other ;;
            --color) words="auto always never" ;;
            *) if [[ $cur == -* ]]; then words="--to --tag --json --color -h --help"; else kind=files; fi ;;
        esac ;;
        'mirror') case $prev in
            --python) kind=other ;;
            --target) kind=other ;;
            --host-python) kind=other ;;
            --color) words="auto always never" ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--python --target --host-python --newest --dry-run --verify --json --color -h --help --cache-dir --shared-caches --mirror --catalog --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=folders; fi ;;
        esac ;;
        'lock') case $prev in
            --target) kind=other ;;
            --upgrade-package) kind=other ;;
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--target --upgrade --upgrade-package --check --only-interpreter --no-only-interpreter --file --always --no-always --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=folders; fi ;;
        esac ;;
        'init') case $prev in
            --form) words="one-list table" ;;
            --requires-python) kind=other ;;
            --color) words="auto always never" ;;
            *) if [[ $cur == -* ]]; then words="--check --undo --form --requires-python --json --color -h --help"; else kind=folders; fi ;;
        esac ;;
        'settings') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else :; fi ;;
        esac ;;
        'doctor') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--full --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=folders; fi ;;
        esac ;;
        'cache dir') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else :; fi ;;
        esac ;;
        'cache list') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else :; fi ;;
        esac ;;
        'cache verify') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--repair --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else kind=other; fi ;;
        esac ;;
        'cache prune') case $prev in
            --unused-for) kind=other ;;
            --max-size) kind=other ;;
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--unused-for --max-size --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else :; fi ;;
        esac ;;
        'cache clean') case $prev in
            --color) words="auto always never" ;;
            --python) kind=files ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --target) kind=other ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--force --json --color -h --help --python --cache-dir --shared-caches --mirror --catalog --target --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else :; fi ;;
        esac ;;
        'cache key') case $prev in
            --python) kind=other ;;
            --target) kind=other ;;
            --color) words="auto always never" ;;
            --cache-dir) kind=folders ;;
            --shared-caches) kind=folders ;;
            --mirror) kind=files ;;
            --catalog) kind=files ;;
            --cpu-level) words="baseline v2 v3 v4 auto" ;;
            --preference) words="managed only-managed system only-system" ;;
            --installer) words="pip uv" ;;
            --toolchain) words="host zig" ;;
            --glibc) kind=other ;;
            --sbom) kind=folders ;;
            --lock-timeout) kind=other ;;
            --connect-timeout) kind=other ;;
            --read-timeout) kind=other ;;
            --retries) kind=other ;;
            --verbose) kind=other ;;
            *) if [[ $cur == -* ]]; then words="--python --target --json --color -h --help --cache-dir --shared-caches --mirror --catalog --cpu-level --preference --offline --installer --toolchain --glibc --sbom --lock-timeout --connect-timeout --read-timeout --retries --verbose -v"; else :; fi ;;
        esac ;;
        'completions') case $prev in
            --color) words="auto always never" ;;
            *) if [[ $cur == -* ]]; then words="--color -h --help"; else words="bash zsh fish"; fi ;;
        esac ;;
    esac
    for ((i = at + 1; i < COMP_CWORD; i++)); do
        [[ $command == @(run) && ${COMP_WORDS[i]} == -- ]] || continue
        if ((i == COMP_CWORD - 1)); then kind=program; else kind=files; fi
        break
    done
    case $kind in
        program) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
        files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    esac
}
complete -F _provision_backend provision-backend
