"""Segmind: SAM 3 and SAM 2 for images, SAM 3 for videos. One module a model; `client` asks for all."""
