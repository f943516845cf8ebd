"""Interpreter + host → variables of a build environment: where certificates are, and whose libraries are found."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Dict, Mapping

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = ["host_variables"]


def host_variables(interpreter: Interpreter, environ: Mapping[str, str]) -> Dict[str, str]:
    """Return what is to be set for an interpreter on this host.

    Args:
        interpreter: whose build environment it is.
        environ: the variables so far.
    """
    return {**_certificates(interpreter, environ), **_library_path(interpreter, environ)}


def _certificates(interpreter: Interpreter, environ: Mapping[str, str]) -> Dict[str, str]:
    """Say where the host keeps its CA certificates, to a standalone CPython that looks in Debian's place only.

    Its OpenSSL has ``/etc/ssl`` compiled in, which RHEL 8 and Fedora 33 and older do not have (uv#16703,
    python-build-standalone#858).
    """
    if interpreter.source != "managed" or environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR"):
        return {}
    if os.path.exists("/etc/ssl/cert.pem") or os.path.isdir("/etc/ssl/certs"):
        return {}
    for bundle in ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"):
        if os.path.exists(bundle):
            return {"SSL_CERT_FILE": bundle}
    return {}


def _library_path(interpreter: Interpreter, environ: Mapping[str, str]) -> Dict[str, str]:
    """Leave out the libraries of the running interpreter's own tree, which are not those of another one.

    GitHub's setup-python and Software Collections name them; what else is named is what real backends need.
    """
    own = sys.base_prefix
    before = environ.get("LD_LIBRARY_PATH")
    if not before or own in ("/usr", "/usr/local") or interpreter.executable.startswith(f"{own}/"):
        return {}
    kept = [folder for folder in before.split(os.pathsep) if not f"{folder}/".startswith(f"{own}/")]
    return {"LD_LIBRARY_PATH": os.pathsep.join(kept)}
