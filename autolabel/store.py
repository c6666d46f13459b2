"""The run's memory, one SQLite file: kept answers with their bodies, failures, splits and reviews.

A row of `answers` is one prompt on one image, keyed by what was asked (content, prompt, source), never by
a file's name. WAL with one commit per image: a killed process loses nothing that was written, and a commit
costs no disk flush. Only one thread writes.
"""

import os
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
import zstandard

from autolabel.errors import OutputError
from autolabel.types import RLE, Detection

VERSION = 3
StoreError = sqlite3.Error  # what any call here may raise: a full disk, a damaged file
_SCHEMA = """
CREATE TABLE files (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, image BLOB, width INTEGER, height INTEGER
) WITHOUT ROWID;
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY, prompts TEXT, floor REAL, sent_width INTEGER, sent_height INTEGER, body BLOB
);
CREATE TABLE answers (
    id INTEGER PRIMARY KEY, image BLOB, source TEXT, prompt TEXT, floor REAL,
    width INTEGER, height INTEGER, instances INTEGER, detections BLOB, degradations TEXT,
    body INTEGER REFERENCES bodies (id)
);
CREATE UNIQUE INDEX answers_by_question ON answers (image, source, prompt);
CREATE TABLE failures (
    image BLOB, source TEXT, prompt TEXT, reason TEXT, body INTEGER REFERENCES bodies (id),
    PRIMARY KEY (image, source, prompt)
) WITHOUT ROWID;
CREATE TABLE pending (
    image BLOB, source TEXT, prompt TEXT, reason TEXT, body INTEGER REFERENCES bodies (id),
    PRIMARY KEY (image, source, prompt)
) WITHOUT ROWID;
CREATE TABLE reviews (
    image BLOB, revision INTEGER, at TEXT, document BLOB, PRIMARY KEY (image, revision)
) WITHOUT ROWID;
CREATE TABLE glances (image BLOB PRIMARY KEY, question BLOB, data BLOB);
CREATE TABLE splits (image BLOB PRIMARY KEY, split TEXT) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
_SINCE = {"pending": 2, "reviews": 3, "glances": 3}  # tables that the first layout did not have
WHOLE_IMAGE = ""  # stands for the prompt where a failure is the image's own


@dataclass(frozen=True, slots=True)
class FileRow:
    """What is known of a file's content: its digest, and the upright size in pixels (0 where unread)."""

    image: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """The kept answer to one prompt, detections in the upright frame of `width` x `height` pixels.

    `degradations` name what the host's answer could not hold, such as "holes".
    """

    prompt: str
    width: int
    height: int
    detections: list[Detection]
    degradations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request about an image, and what came of it.

    Either `detections`, in the upright frame, answer all `prompts` (their keys); or `reason` says why they
    don't. `body` is what the host sent, for a picture of `sent_wh` pixels; None where it sent nothing, empty
    where that is not known. `source` says who was asked. One that `settles` ends an earlier request, whose
    body is of no more use.
    """

    prompts: tuple[str, ...]
    floor: float
    sent_wh: tuple[int, int] = (0, 0)
    body: bytes | None = None
    detections: Sequence[Detection] = ()
    degradations: tuple[str, ...] = ()
    reason: str | None = None
    source: str = ""
    settles: bool = False


class Store:
    """An open run file. A context manager; what is never left is closed with the object."""

    def __init__(self, path: Path) -> None:
        """Open or create `path`. Raises OutputError where that can't be done."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # a labelling and an export may work on one run at a time; each waits for the other's commits
            # (one thread uses it; another may be the one that collects it)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
            self._close = weakref.finalize(self, self._db.close)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._prepare(path)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"{path} can't be opened as a run file ({error}); choose another `run`"
            ) from None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def file(self, path: str | Path, size: int, mtime_ns: int) -> FileRow | None:
        """What is known of the file, unless it changed in size or time since."""
        row = self._db.execute(
            "SELECT image, width, height FROM files WHERE path = ? AND size = ? AND mtime_ns = ?",
            (os.fsencode(path), size, mtime_ns),
        ).fetchone()
        return FileRow(*row) if row else None

    def put_file(self, path: str | Path, size: int, mtime_ns: int, row: FileRow) -> None:
        """Remember a file's content."""
        self._db.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (os.fsencode(path), size, mtime_ns, row.image, row.width, row.height),
        )

    def path_hashes(self) -> set[int]:
        """Hashes (of the paths as bytes) of all files that are remembered: they take little memory."""
        return {hash(path) for (path,) in self._db.execute("SELECT path FROM files")}

    def forget_file(self, path: Path) -> None:
        """Drop what is known of a file that turned out to have another content."""
        self._db.execute("DELETE FROM files WHERE path = ?", (os.fsencode(path),))

    def answered(self, image: bytes, source: str, floor: float) -> dict[str, int]:
        """Prompt to number of instances, of the kept answers that serve a request with `floor`."""
        rows = self._db.execute(
            "SELECT prompt, instances FROM answers WHERE image = ? AND source = ? AND floor <= ?",
            (image, source, floor),
        )
        return dict(rows.fetchall())

    def answered_files(
        self, paths: Sequence[str], source: str, floor: float
    ) -> dict[bytes, tuple[FileRow, int, int, dict[str, int]]]:
        """Row, size, time and `answered` of each of the files whose content has an answer, by encoded path.

        One look-up for up to a thousand paths takes a tenth of the time that theirs one by one would take.
        """
        marks = ",".join("?" * len(paths))
        rows = self._db.execute(
            "SELECT path, image, files.width, files.height, size, mtime_ns, prompt, instances "  # noqa: S608
            "FROM files JOIN answers USING (image) "
            f"WHERE path IN ({marks}) AND source = ? AND floor <= ?",  # a question mark for each path
            (*map(os.fsencode, paths), source, floor),
        )
        found: dict[bytes, tuple[FileRow, int, int, dict[str, int]]] = {}
        for path, image, width, height, size, mtime_ns, prompt, instances in rows:
            if path not in found:
                found[path] = FileRow(image, width, height), size, mtime_ns, {}
            found[path][3][prompt] = instances
        return found

    def answers(self, image: bytes, source: str) -> dict[str, AnswerRow]:
        """Prompt to kept answer for an image, detections with class_id 0 (a class belongs to the config)."""
        rows = self._db.execute(
            "SELECT prompt, width, height, detections, degradations FROM answers "
            "WHERE image = ? AND source = ?",
            (image, source),
        )
        return {
            prompt: AnswerRow(
                prompt, w, h, _unpack(prompt, (h, w), blob), tuple(filter(None, degradations.split(",")))
            )
            for prompt, w, h, blob, degradations in rows
        }

    def failures(self, image: bytes, source: str) -> dict[str, str]:
        """Prompt to reason for an image; WHOLE_IMAGE where it could not be sent at all."""
        rows = self._db.execute(
            "SELECT prompt, reason FROM failures WHERE image = :image AND source = :source UNION ALL "
            "SELECT prompt, reason FROM pending WHERE image = :image AND source = :source",
            {"image": image, "source": source},
        )
        return dict(rows.fetchall())

    def unread(self, image: bytes, source: str) -> list[Exchange]:
        """The kept bodies that were not understood, each with the prompts it was to answer.

        A body is empty where a request was sent and nobody knows what became of it.
        """
        rows = self._db.execute(
            "SELECT prompts, floor, sent_width, sent_height, bodies.body, min(reason) FROM ("
            "SELECT body AS id, reason FROM failures WHERE image = :image AND source = :source UNION ALL "
            "SELECT body AS id, reason FROM pending WHERE image = :image AND source = :source"
            ") JOIN bodies USING (id) GROUP BY id ORDER BY id",
            {"image": image, "source": source},
        )
        return [
            Exchange(tuple(orjson.loads(prompts)), floor, (w, h), zstandard.decompress(body), reason=reason)
            for prompts, floor, w, h, body, reason in rows
        ]

    def put(
        self,
        image: bytes,
        source: str,
        wh: tuple[int, int],
        exchanges: Iterable[Exchange],
        *,
        afresh: bool = False,
    ) -> None:
        """Keep what was asked about an image of `wh` upright pixels, in one commit.

        An answer replaces an older one and ends its prompt's failure; a failure replaces no answer, unless
        `afresh` forgets all that was kept of the image before: what costs nothing is as its source says now.
        """
        with self.transaction():
            self._db.execute("DELETE FROM glances WHERE image = ?", (image,))
            for table in ("answers", "failures") if afresh else ():
                self._db.execute(
                    f"DELETE FROM {table} WHERE image = ? AND source = ?",  # noqa: S608  (a constant)
                    (image, source),
                )
            for exchange in exchanges:
                body_id = self._put_body(exchange)
                self.drop_pending(image, source, exchange.prompts)
                for prompt in exchange.prompts:
                    self._put_outcome(image, source, prompt, wh, exchange, body_id)

    def put_pending(self, image: bytes, source: str, exchange: Exchange) -> None:
        """Note that a request is about to be sent, or was accepted (then with a body): it may be billed.

        What `put` keeps of the same prompts ends the note.
        """
        with self.transaction():
            body_id = self._put_body(exchange)
            for prompt in exchange.prompts:
                self._db.execute(
                    "INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, ?)",
                    (image, source, prompt, exchange.reason, body_id),
                )

    def drop_pending(self, image: bytes, source: str, prompts: Iterable[str]) -> None:
        """Forget a note: the request was not sent after all."""
        with self.transaction():
            self._db.executemany(
                "DELETE FROM pending WHERE image = ? AND source = ? AND prompt = ?",
                [(image, source, prompt) for prompt in prompts],
            )

    def review(self, image: bytes, revision: int | None = None) -> tuple[int, bytes] | None:
        """The revision and the document of what is decided about an image, or of what once was."""
        row = self._db.execute(
            "SELECT revision, document FROM reviews WHERE image = ? AND revision = coalesce(?, revision) "
            "ORDER BY revision DESC LIMIT 1",
            (image, revision),
        ).fetchone()
        return (row[0], _document(row[1])) if row else None

    def revisions(self) -> dict[bytes, int]:
        """The current revision of every image that something was ever decided about."""
        return dict(self._db.execute("SELECT image, max(revision) FROM reviews GROUP BY image").fetchall())

    def reviews(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield every image that has one with the revision and the document of its review."""
        rows = self._db.execute("SELECT image, max(revision), document FROM reviews GROUP BY image")
        yield from ((image, revision, _document(blob)) for image, revision, blob in rows)

    def put_review(self, image: bytes, document: bytes, at: str, *, base: int) -> int | None:
        """Keep a document that was made from revision `base` (0: from none), and return its own revision.

        None, and nothing is kept, where another one came meanwhile. Older revisions stay.
        """
        with self.transaction():
            (now,) = self._db.execute(
                "SELECT coalesce(max(revision), 0) FROM reviews WHERE image = ?", (image,)
            ).fetchone()
            if now != base:
                return None
            row = (image, base + 1, at, _deflate(document))
            self._db.execute("INSERT INTO reviews VALUES (?, ?, ?, ?)", row)
        return base + 1

    def glance(self, image: bytes, question: bytes) -> bytes | None:
        """The figures of an image's answers that `put_glance` kept, if its answers are still the same."""
        row = self._db.execute(
            "SELECT data FROM glances WHERE image = ? AND question = ?", (image, question)
        ).fetchone()
        return row[0] if row else None

    def glances(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield image, question and figures of all images that have some."""
        yield from self._db.execute("SELECT image, question, data FROM glances")

    def put_glance(self, image: bytes, question: bytes, data: bytes) -> None:
        """Keep figures that were made of an image's answers to a question, until other answers come."""
        self._db.execute("INSERT OR REPLACE INTO glances VALUES (?, ?, ?)", (image, question, data))

    def splits(self) -> dict[bytes, str]:
        """Image content to split, for every image that was ever assigned."""
        return dict(self._db.execute("SELECT image, split FROM splits").fetchall())

    def put_splits(self, assigned: Mapping[bytes, str], *, afresh: bool = False) -> None:
        """Record assignments; `afresh` forgets the old ones first."""
        with self.transaction():
            if afresh:
                self._db.execute("DELETE FROM splits")
            self._db.executemany("INSERT OR REPLACE INTO splits VALUES (?, ?)", assigned.items())

    def note(self, name: str) -> str | None:
        """A remembered text, such as the shares that the splits were made with."""
        row = self._db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def put_note(self, name: str, value: str) -> None:
        """Remember a text."""
        self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    @contextmanager
    def exclusive(self, work: Literal["label", "export"]) -> Iterator[None]:
        """Keep other processes from the same work on this run. Raises OutputError where one is at it.

        The lock is SQLite's own on a file beside the store, so it ends with the process, however that dies.
        """
        lock = sqlite3.connect(self.path.with_name(f"{work}.lock"), timeout=0, isolation_level=None)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            lock.close()
            raise OutputError(
                f"another `autolabel {work}` works on {self.path.parent}; wait, or choose another `run`"
            ) from None
        try:
            yield
        finally:
            lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One commit for what happens inside; nothing of it stays where it raises."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _prepare(self, path: Path) -> None:
        with self.transaction():  # two first runs may come at once
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version == 0 and tables:
                raise OutputError(f"{path} is a database of another program; choose another `run`")
            if 0 < version < VERSION:
                for table in (name for name, since in _SINCE.items() if since > version):
                    text = next(text for text in _SCHEMA.split(";\n") if f"TABLE {table} " in text)
                    self._db.execute(text.replace("TABLE", "TABLE IF NOT EXISTS", 1))
                self._db.execute(f"PRAGMA user_version = {VERSION}")
            elif version not in (0, VERSION):
                raise OutputError(
                    f"{path} was written by another version of autolabel (layout {version}, not {VERSION}); "
                    "use that version, or choose another `run`"
                )
            if version == 0:
                # executescript would commit by itself
                for statement in _SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _put_body(self, exchange: Exchange) -> int | None:
        if exchange.body is None:
            return None
        prompts = orjson.dumps(exchange.prompts).decode()
        return self._db.execute(
            "INSERT INTO bodies (prompts, floor, sent_width, sent_height, body) VALUES (?, ?, ?, ?, ?)",
            (prompts, exchange.floor, *exchange.sent_wh, _deflate(exchange.body)),
        ).lastrowid

    def _put_outcome(
        self,
        image: bytes,
        source: str,
        prompt: str,
        wh: tuple[int, int],
        exchange: Exchange,
        body_id: int | None,
    ) -> None:
        if exchange.reason is not None:
            self._db.execute(
                "INSERT INTO failures VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "reason = excluded.reason, body = CASE WHEN ? THEN excluded.body "
                "ELSE coalesce(excluded.body, body) END",
                (image, source, prompt, exchange.reason, body_id, exchange.settles),
            )
            return
        detections = [d for d in exchange.detections if d.prompt == prompt]
        packed = (len(detections), _pack(detections), ",".join(exchange.degradations))
        self._db.execute(
            "INSERT OR REPLACE INTO answers (image, source, prompt, floor, width, height, "
            "instances, detections, degradations, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (image, source, prompt, exchange.floor, *wh, *packed, body_id),
        )
        self._db.execute(
            "DELETE FROM failures WHERE image = ? AND source = ? AND prompt IN (?, ?)",
            (image, source, prompt, WHOLE_IMAGE),
        )


def _pack(detections: Iterable[Detection]) -> bytes:
    """Detections as compressed JSON: a list of [confidence, counts, track_id]."""
    return _deflate(orjson.dumps([[d.confidence, d.mask.counts.decode(), d.track_id] for d in detections]))


def _unpack(prompt: str, size: tuple[int, int], blob: bytes) -> list[Detection]:
    return [
        Detection(0, confidence, prompt, RLE(size, counts.encode()), track_id)
        for confidence, counts, track_id in orjson.loads(zstandard.decompress(blob))
    ]


def _document(blob: bytes) -> bytes:
    """A review's JSON; what is damaged comes back as it is, for whoever reads it to refuse it by name."""
    try:
        return zstandard.decompress(blob)
    except zstandard.ZstdError:
        return blob


def _deflate(data: bytes) -> bytes:
    return zstandard.compress(data, 3)
