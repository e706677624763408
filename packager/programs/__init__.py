"""Programs of ours that run elsewhere: in the image, in a stage of its build, in a process of their own.

They import nothing else of ours.
"""
