"""Environment → LockRequest → Lock.

In the order of the data: `declaration` reads what the spec names (`requirements_txt`, `requirement`), `request` makes
the question of it, `solve` answers it by uv (`pylock`, `explain`), `lock` holds the answer, `files` and `writing` keep
it on disk, `status` says whether it still fits, and `locking` is the step as a whole (`solve_targets`).
"""
