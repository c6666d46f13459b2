"""YOLO-seg, as Ultralytics reads it."""
