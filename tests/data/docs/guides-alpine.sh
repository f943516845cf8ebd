# The built-in catalog, which a reader has: nothing is fetched here.
unset PROVISION_BACKEND_CATALOG PROVISION_BACKEND_MIRROR
