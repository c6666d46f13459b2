"""Masks that break mask tools: the shapes every format and every way through the geometry must survive."""

import cv2
import numpy as np
from numpy.typing import NDArray


def nasty_masks(height: int = 48, width: int = 64) -> dict[str, NDArray[np.bool_]]:
    """Single-instance masks (h, w) by name, none of them empty; from 24 x 24 pixels on."""
    masks = {**_plain(height, width), **_holes(height, width), **_parts(height, width)}
    masks |= {**_lines(height, width), **_touching(height, width), **_ragged(height, width)}
    return {name: mask.astype(np.bool_) for name, mask in masks.items()}


def _zeros(height: int, width: int) -> NDArray[np.uint8]:
    return np.zeros((height, width), np.uint8)


def _paint(height: int, width: int, *boxes_xyxy: tuple[int, int, int, int, int]) -> NDArray[np.uint8]:
    """Boxes (x0, y0, x1, y1, value), ends exclusive, painted one over the other."""
    mask = _zeros(height, width)
    for x0, y0, x1, y1, value in boxes_xyxy:
        mask[y0:y1, x0:x1] = value
    return mask


def _plain(h: int, w: int) -> dict[str, NDArray[np.uint8]]:
    corners = {"top_left": (0, 0), "bottom_right": (h - 1, w - 1), "middle": (h // 2, w // 2)}
    dots = {f"pixel_{name}": _paint(h, w, (x, y, x + 1, y + 1, 1)) for name, (y, x) in corners.items()}
    return dots | {
        "full": np.ones((h, w), np.uint8),
        "two_by_two": _paint(h, w, (5, 5, 7, 7, 1)),
        "box": _paint(h, w, (4, 6, w // 2, h // 2, 1)),
        "left_border": _paint(h, w, (0, 3, 5, h - 3, 1)),
        "right_and_bottom": _paint(h, w, (w - 6, h - 9, w, h, 1)),
        "all_but_one_pixel": _paint(h, w, (0, 0, w, h, 1), (w // 2, h // 2, w // 2 + 1, h // 2 + 1, 0)),
        "all_but_a_corner": _paint(h, w, (0, 0, w, h, 1), (0, 0, 1, 1, 0)),
        "disc": cv2.circle(_zeros(h, w), (w // 2, h // 2), 9, [1], -1),
        "ellipse_cut_by_border": cv2.ellipse(_zeros(h, w), (w - 2, h // 3), (17, 8), 30, 0, 360, [1], -1),
    }


def _holes(h: int, w: int) -> dict[str, NDArray[np.uint8]]:
    box = (2, 2, w - 2, h - 2, 1)
    dots = [(x, y, x + 1, y + 1, 0) for x in range(4, w - 4, 3) for y in range(4, h - 4, 3)]
    ring = cv2.circle(_zeros(h, w), (w // 2, h // 2), 10, [1], 1)
    return {
        "hole": _paint(h, w, box, (8, 7, 14, 15, 0)),
        "two_holes_in_a_row": _paint(h, w, box, (6, 8, 9, 12, 0), (12, 8, 16, 12, 0)),
        "holes_at_one_edge": _paint(h, w, box, (6, 4, 8, 6, 0), (6, 8, 9, 10, 0), (6, 12, 7, 15, 0)),
        "many_holes": _paint(h, w, box, *dots),
        "part_in_a_hole": _paint(h, w, box, (5, 5, 20, 20, 0), (9, 9, 15, 15, 1)),
        "hole_in_a_part_in_a_hole": _paint(
            h, w, box, (4, 4, 21, 21, 0), (7, 7, 18, 18, 1), (10, 10, 13, 13, 0), (11, 11, 12, 12, 1)
        ),
        "frame": _paint(h, w, (0, 0, w, h, 1), (1, 1, w - 1, h - 1, 0)),
        "thin_ring": ring,
        "thin_square_ring": _paint(h, w, (3, 3, 15, 15, 1), (4, 4, 14, 14, 0)),
    }


def _parts(h: int, w: int) -> dict[str, NDArray[np.uint8]]:
    dots = [(x, y, x + 1, y + 1, 1) for x in range(0, w, 9) for y in range(0, h, 7)]
    return {
        "two_parts": _paint(h, w, (2, 2, 8, 9, 1), (13, 11, 20, 18, 1)),
        "far_parts": _paint(h, w, (0, 0, 2, 2, 1), (w - 2, h - 2, w, h, 1)),
        "big_and_speck": _paint(h, w, (1, 1, w // 2, h // 2, 1), (w - 3, h - 4, w - 2, h - 3, 1)),
        "specks": _paint(h, w, *dots),
        "parts_with_holes": _paint(
            h, w, (1, 1, 9, 9, 1), (3, 3, 6, 6, 0), (12, 1, 20, 9, 1), (14, 4, 17, 7, 0)
        ),
        "specks_in_a_row": _paint(h, w, *[(x, 5, x + 1, 6, 1) for x in range(1, w, 2)]),
        "specks_in_a_column": _paint(h, w, *[(5, y, 6, y + 1, 1) for y in range(1, h, 3)]),
    }


def _lines(h: int, w: int) -> dict[str, NDArray[np.uint8]]:
    side = min(h, w)
    return {
        "horizontal_line": _paint(h, w, (3, 5, w - 3, 6, 1)),
        "vertical_line": _paint(h, w, (7, 2, 8, h - 2, 1)),
        "full_row": _paint(h, w, (0, h - 1, w, h, 1)),
        "full_column": _paint(h, w, (0, 0, 1, h, 1)),
        "diagonal_line": np.eye(h, w, dtype=np.uint8),
        "antidiagonal_line": np.fliplr(np.eye(h, w, dtype=np.uint8)).copy(),
        "slanted_line": cv2.line(_zeros(h, w), (1, 2), (w - 3, h // 3), [1], 1),
        "cross": _paint(h, w, (2, 10, w - 2, 11, 1), (11, 2, 12, h - 2, 1)),
        "comb": _paint(h, w, (1, 1, w - 1, 3, 1), *[(x, 3, x + 1, h - 2, 1) for x in range(1, w - 1, 2)]),
        "zigzag": cv2.polylines(
            _zeros(h, w),
            [np.array([(x, (x * 7) % (side - 2)) for x in range(0, w, 4)], np.int32)],
            False,
            [1],
        ),
    }


def _touching(h: int, w: int) -> dict[str, NDArray[np.uint8]]:
    checkers = (np.indices((h, w)).sum(axis=0) % 2).astype(np.uint8)
    ring = _paint(h, w, (4, 4, 14, 14, 1), (6, 6, 12, 12, 0), (4, 4, 6, 6, 0))
    ring[5, 6], ring[6, 5], ring[5, 5] = 1, 1, 0
    return {
        "checkerboard": checkers,
        "checkerboard_inverted": 1 - checkers,
        "diagonal_boxes": _paint(h, w, (2, 2, 8, 8, 1), (8, 8, 14, 14, 1)),
        "ring_touching_itself_diagonally": _paint(
            h, w, (3, 3, 12, 12, 1), (5, 5, 10, 10, 0), (3, 3, 5, 5, 0), (4, 5, 5, 6, 0), (3, 5, 5, 6, 1)
        ),
        "ring_closed_by_a_corner": ring,
        "hole_touching_outline_diagonally": _paint(h, w, (2, 2, 12, 12, 1), (2, 2, 5, 5, 0), (5, 5, 8, 8, 0)),
        "holes_touching_diagonally": _paint(h, w, (1, 1, 20, 20, 1), (4, 4, 8, 8, 0), (8, 8, 12, 12, 0)),
        "hourglass_of_holes": _paint(
            h, w, (0, 0, w, h, 1), (5, 5, 9, 9, 0), (9, 9, 13, 13, 0), (13, 5, 17, 9, 0), (9, 3, 13, 5, 0)
        ),
        "stairs": _paint(h, w, *[(x, x, x + 2, x + 1, 1) for x in range(1, min(h, w) - 2)]),
    }


def _ragged(h: int, w: int) -> dict[str, NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    masks = {}
    for name, share in (("sparse", 0.1), ("half", 0.5), ("dense", 0.9)):
        masks[f"noise_{name}"] = (rng.random((h, w)) < share).astype(np.uint8)
    smooth = cv2.GaussianBlur(rng.random((h, w)), (0, 0), 2)
    masks["blobs"] = (smooth > np.median(smooth)).astype(np.uint8)
    masks["blobs_with_holes"] = (smooth < np.quantile(smooth, 0.75)).astype(np.uint8)
    return masks
