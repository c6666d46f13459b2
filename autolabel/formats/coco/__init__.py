"""COCO instance segmentation."""
