"""The workers: an image or a clip in, a record out. They never raise, keep no state but their backends, and
touch the store only through the journal that they are given, so that any engine can run them.
"""

from autolabel.labeler.clip import ClipLabeler, ClipRecord, ClipTask
from autolabel.labeler.image import Ask, Labeler, Record, Task, chunks, in_frame, to_frame
from autolabel.labeler.talk import Asker, Journal

__all__ = [
    "Ask",
    "Asker",
    "ClipLabeler",
    "ClipRecord",
    "ClipTask",
    "Journal",
    "Labeler",
    "Record",
    "Task",
    "chunks",
    "in_frame",
    "to_frame",
]
