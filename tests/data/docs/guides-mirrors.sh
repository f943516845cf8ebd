# Where others have python-build-standalone, a reader here has a folder: an archive for this host, and one for Alpine
# that nobody will start, so a few bytes do.
archive=$(basename "$PROVISION_BACKEND_MIRROR"/cpython-*.tar.gz)
version=${archive#cpython-} version=${version%%+*}
mkdir "$HOME/.upstream"
cp "$PROVISION_BACKEND_MIRROR/$archive" "$HOME/.upstream/"
echo Alpine > "$HOME/.upstream/cpython-$version+20251120-x86_64-unknown-linux-musl-install_only.tar.gz"
(cd "$HOME/.upstream" && sha256sum cpython-* > SHA256SUMS)
export PROVISION_BACKEND_MIRROR=$HOME/.upstream PROVISION_BACKEND_CATALOG=$HOME/.upstream
