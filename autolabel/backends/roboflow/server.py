"""What both calls share: key, limits, the image in the request, the masks in the answer.

The wire facts were seen against the vendor's open-source server (inference 1.8.3) where not said otherwise.
"""

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from autolabel.backends.base import Limits
from autolabel.backends.hosted import Hosted
from autolabel.backends.reading import host_rings
from autolabel.geometry import rle
from autolabel.types import RLE, Picture


class Roboflow(Hosted):
    """One server, the vendor's or the user's own."""

    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ("ROBOFLOW_API_KEY",)
    BASE_URL: ClassVar[str | None] = "https://serverless.roboflow.com"
    LIMITS: ClassVar[Limits] = Limits(
        max_base64_bytes=20_000_000,  # the documentation: uploads up to 20 MB on serverless
        requests_per_second=20,  # the vendor's blog on parallel inference; a price is not stated
        returns="RLE: holes and parts whole, scores",
        source="its open-source server (inference 1.8.3), its documentation and blog",
    )
    OWN_SERVERS: ClassVar[bool] = True
    SETTINGS: ClassVar[frozenset[str]] = frozenset({"base_url", "auth"})

    def _advice(self, *, own_server: bool) -> Mapping[int, str]:
        if not own_server or self.settings.auth != "bearer":
            return {}
        # such a server does not look at the Authorization header and misses the key (read in its code)
        old = "a server older than inference 1.5.0 needs backend.auth: query"
        return {400: f"if it misses the key: {old}", 401: old}


def with_image(picture: Picture, rest: Mapping[str, Any]) -> bytes:
    """A request's JSON body: the image and the `rest` of its keys."""
    # spliced, as a JSON encoder would look at each of a million base64 characters
    image = base64.b64encode(picture.data)
    return b"".join((b'{"image":{"type":"base64","value":"', image, b'"},', orjson.dumps(rest)[1:]))


def mask_of(prediction: Mapping[str, Any], size: tuple[int, int]) -> RLE:
    """Read a mask by the prediction's own format; servers up to 1.5.0 may answer polygons for rle.

    Raises ValueError.
    """
    if prediction["format"] == "rle":
        return rle.from_coco(prediction.get("masks"), size)
    if prediction["format"] in ("polygon", "json"):
        return host_rings(prediction.get("masks"), size)
    raise ValueError(f"a prediction has the unknown format {prediction['format'][:60]!r}")
