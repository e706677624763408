"""What packager adds to the inference server of an image: gunicorn loads it there, as the package `packager_server`.

It runs by the image's own Python: standard library and gunicorn only, Python 3.9 or newer, imports within this folder.
"""
