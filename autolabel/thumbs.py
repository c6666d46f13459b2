"""Small pictures for the review, in one SQLite file that may be deleted at any time: a cache, never a state.

`make` is for worker threads; a `Thumbs` is used by one thread at a time.
"""

import sqlite3
import time
import weakref
from contextlib import suppress
from pathlib import Path

from autolabel.sources import images

SIDE = 256  # px, of the longer side
_QUALITY = 80
_TOGETHER = 100  # thumbs of one commit, and
_AT_MOST_S = 2.0  # how long the first of them waits for the others
_LAYOUT = 1
_WAIT_S = 5.0  # for another process that writes


def make(data: bytes, info: images.Info) -> bytes:
    """A JPEG of the upright image, its longer side `SIDE` px or less. Raises ImageError for what is damaged.

    A JPEG is decoded at a fraction of its size.
    """
    return images.encode_jpeg(images.decode(data, info, max_side=SIDE), _QUALITY)


class Thumbs:
    """Thumbs by the digest of the image. No method raises for a file that can't be used: it does without.

    A damaged file is made anew. Close it, so that the last ones are written.
    """

    def __init__(self, path: Path) -> None:
        """Open or create `path`."""
        self._path = path
        self._waiting: dict[bytes, bytes] = {}
        self._since = 0.0
        self._db = self._opened()

    def get(self, image: bytes) -> bytes | None:
        """The thumb of an image, None where there is none."""
        if image in self._waiting:
            return self._waiting[image]
        row = self._one("SELECT jpeg FROM thumbs WHERE image = ?", image)
        return row[0] if row and isinstance(row[0], bytes) else None

    def has(self, image: bytes) -> bool:
        """Whether there is a thumb of an image."""
        return image in self._waiting or bool(self._one("SELECT 1 FROM thumbs WHERE image = ?", image))

    def put(self, image: bytes, jpeg: bytes) -> None:
        """Keep a thumb; it is written together with others, after a while."""
        now = time.monotonic()
        self._since = self._since if self._waiting else now
        self._waiting[image] = jpeg
        if len(self._waiting) >= _TOGETHER or now - self._since > _AT_MOST_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        rows, self._waiting = list(self._waiting.items()), {}
        if not rows or self._db is None:
            return
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO thumbs VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            self._recover(error)

    def close(self) -> None:
        """Write what waits, and close the file."""
        self.flush()
        if self._db is not None:
            self._db.close()
            self._db = None

    def _one(self, query: str, image: bytes) -> tuple[bytes] | None:
        if self._db is None:
            return None
        try:
            row: tuple[bytes] | None = self._db.execute(query, (image,)).fetchone()
        except sqlite3.Error as error:
            self._recover(error)
            return None
        return row

    def _opened(self) -> sqlite3.Connection | None:
        """The open file, made anew once where it is damaged; None where there can't be one."""
        for _ in range(2):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                db = _connected(self._path)
                weakref.finalize(self, db.close)
                return db
            except (sqlite3.OperationalError, OSError):  # no right to write, a full disk, a long wait
                return None
            except sqlite3.DatabaseError:
                _remove(self._path)
        return None

    def _recover(self, error: sqlite3.Error) -> None:
        """Begin anew where the file is damaged; otherwise go on without what was to be done."""
        if isinstance(error, sqlite3.OperationalError) or self._db is None:
            return
        with suppress(sqlite3.Error):
            self._db.close()
        _remove(self._path)
        self._db = self._opened()


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_WAIT_S, check_same_thread=False)
    try:
        (layout,) = db.execute("PRAGMA user_version").fetchone()
        if layout not in (0, _LAYOUT):
            raise sqlite3.DatabaseError("it is of another layout")
        db.execute("PRAGMA synchronous = OFF")  # it may be lost with the power
        if layout == 0:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE IF NOT EXISTS thumbs (image BLOB PRIMARY KEY, jpeg BLOB)")
            db.execute(f"PRAGMA user_version = {_LAYOUT}")
    except BaseException:
        db.close()
        raise
    return db


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink()
