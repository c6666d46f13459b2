"""Pascal VOC, as its devkit lays it out."""
