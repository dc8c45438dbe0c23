"""Certificate authorities of the system: they may come late, and variables that name them may be wrong."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from authz_server.trust import client_context

_FILE: Final = "SSL_CERT_FILE"
_FOLDERS: Final = "SSL_CERT_DIR"

_Look = tuple[str, int, int, int] | None  # at a file: path, inode, size and time of its last change


class Authorities:
    """The system's certificate authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR, which OpenSSL reads.

    They are read again once their file is another one: a start must not end with no authorities for good because the file came late.
    """

    def __init__(self) -> None:
        self._look: _Look = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Make what trusts them, or give what was made before."""
        look = _look()
        if self._context is None or look != self._look:
            self._context, self._look = client_context(), look
        return self._context


def warnings(environment: Mapping[str, str]) -> list[str]:
    """Name each variable about authorities that cannot be used: OpenSSL passes over it without a word.

    Args:
        environment: value by name.

    Returns:
        A sentence for each.
    """
    told = []
    if file := environment.get(_FILE):
        try:
            client_context(file)
        except OSError as error:  # ssl.SSLError is one
            told.append(f"{_FILE} names {file}, which holds no certificates to trust ({error.strerror})")
    folders = filter(None, environment.get(_FOLDERS, "").split(os.pathsep))
    return [*told, *(f"{_FOLDERS} names {folder}, which is no folder" for folder in folders if not Path(folder).is_dir())]


def in_force(environment: Mapping[str, str]) -> list[str]:
    """Say which variables about authorities are in force, one sentence each."""
    found = {name: environment.get(name) for name in (_FILE, _FOLDERS)}
    return [f"{name} says whose certificates are trusted for key sets: {value}" for name, value in found.items() if value]


def _look() -> _Look:
    path = ssl.get_default_verify_paths().cafile
    if path is None:
        return None
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return path, status.st_ino, status.st_size, status.st_mtime_ns
