"""One function a verb; the command line and the Python API are thin over them."""
