"""One function a verb, with all that the verb guarantees; the command line and `import packager` are thin over them.

A step takes values (a spec, a wish), picks the adapters of this machine, and tells a `Reporter` what it does.
"""
