"""Images one by one: read the file, know what it is, decode it, fit it to a host, write it upright.

This is the front of the package: reading is here, the rest is gathered from its modules. Which images there
are is found in `listing`.
"""

import hashlib
import stat
from pathlib import Path

from autolabel.errors import ImageError
from autolabel.sources.decode import decode, verify
from autolabel.sources.fit import encode_jpeg, fit
from autolabel.sources.probe import Info, probe
from autolabel.sources.upright import is_original, write_upright

__all__ = [
    "Info",
    "decode",
    "digest",
    "encode_jpeg",
    "fit",
    "is_original",
    "probe",
    "read_bytes",
    "verify",
    "write_upright",
]

_LARGEST = 2**31  # bytes: no image within the bound on pixels is larger


def read_bytes(path: Path) -> bytes:
    """The content of an image file. Raises ImageError where it can't be read or is empty, or for its name."""
    try:
        str(path).encode()
    except UnicodeEncodeError as ex:
        raise ImageError("has a name that is not valid UTF-8, which no dataset can hold; rename it") from ex
    try:
        # A pipe would be waited for without end.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("can't be read: it is no regular file")
        if status.st_size > _LARGEST:
            raise ImageError(
                f"has {status.st_size} bytes, more than the {_LARGEST} that are read; make it smaller"
            )
        data = path.read_bytes()
    except OSError as ex:
        raise ImageError(f"can't be read: {ex.strerror or ex}") from ex
    if not data:
        raise ImageError("the file is empty")
    return data


def digest(data: bytes) -> bytes:
    """32 bytes that stand for the content: SHA-256, which recent CPUs compute faster than BLAKE2."""
    return hashlib.sha256(data).digest()
