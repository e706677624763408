"""The conda half of an environment: declared, solved by py-rattler around no machine's own state, locked, laid down.

Only `worker` and `install`, which run in processes of their own, import py-rattler; only `conda_lock` runs conda-lock.
"""
