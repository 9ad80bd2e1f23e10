"""The server's own output files, which are made by this code: a video, a sound, an image, a document and a text."""
