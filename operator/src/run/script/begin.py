def _begin():
    import os, sys

    sys.stdin = open(os.devnull)  # nobody is asked
    sys.path.insert(0, "")  # files that a cell writes can be imported by a later one
    os.environ.setdefault("MPLBACKEND", "agg")  # plots need no display
