"""From the pictures of an answer to detections of one prompt. Where the pictures stand is in `answers`."""

from autolabel.backends.base import Answer, Loss
from autolabel.backends.segmind import images
from autolabel.backends.segmind.answers import Found, found_in
from autolabel.types import RLE, Detection, Prompt

Size = tuple[int, int]


def answer_of(body: bytes, size: Size, prompt: Prompt, *, scores: bool) -> Answer:
    """Read a whole answer to `prompt` on a picture of `size` (height, width). Raises ValueError.

    With `scores` it was asked from a low confidence up, and each mask has to come apart, with its score; else
    at the confidence that is wanted, and scores are left out: some answers have them, some don't.

    A text is answered by every instance. A box or points are answered by one detection, whose mask is empty
    where nothing is there: the host is said to look for what is like the object in a box, too.
    """
    found = found_in(body)
    if scores and (not found.apart or None in found.scores):
        raise ValueError(
            "it has no mask and score for each instance, so what is below a confidence can't be told; leave "
            "backend.options.return_masks out, which asks at each class's own confidence"
        )
    masks = _masks(found, size)
    known = found.scores if scores else (None,) * len(masks)
    if prompt.is_visual:
        pairs = [_shown(masks, known, size, prompt, apart=found.apart)]
    else:
        pairs = list(zip(masks, known, strict=True))
    detections = [Detection(prompt.class_id, score, prompt.key, mask) for mask, score in pairs]
    lost = _lost(found, detections, prompt, scores=scores)
    return Answer(detections, body, lost)


def _masks(found: Found, size: Size) -> list[RLE]:
    if found.apart:
        return [images.mask_of(picture, size) for picture in found.pictures]
    return [mask for picture in found.pictures for mask in images.masks_of_all(picture, size)]


def _shown(
    masks: list[RLE], scores: tuple[float | None, ...], size: Size, prompt: Prompt, *, apart: bool
) -> tuple[RLE, float | None]:
    best = images.shown(masks, prompt.box_xyxy, prompt.points)
    if apart and best:
        return masks[best[0]], scores[best[0]]
    # parts of one object, or nothing
    return images.union([masks[index] for index in best], size), None


def _lost(found: Found, detections: list[Detection], prompt: Prompt, *, scores: bool) -> tuple[Loss, ...]:
    if scores or not detections:
        return ()
    return ("scores",) if found.apart or prompt.is_visual else ("scores", "instances")
