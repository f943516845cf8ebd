"""Know the host: libc, its version and the architecture, read from ELF files on any root."""
