def _cell(number, source, raised=None, state={"flags": 0, "loop": None}):
    """Run a cell as its session did: whole, in the names of this module, awaiting where it awaits.

    If it raised in the run, what it raises now is told, and the script goes on: later cells may
    need what it had done by then.
    """
    # Cells may have names of their own for these.
    from builtins import BaseException, KeyboardInterrupt, compile, eval, globals, isinstance
    from builtins import any, len, print, type
    import ast, asyncio, inspect, linecache, sys

    name = f"<cell {number}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    try:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | state["flags"]
        tree = compile(source, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)
        parts = [compile(tree, name, "exec", flags, dont_inherit=True)]
        if last is not None:
            parts.append(compile(last, name, "eval", flags, dont_inherit=True))
        state["flags"] |= parts[0].co_flags & 0x1FF0000  # what is imported from __future__

        async def together():
            for part in parts:
                value = eval(part, globals())
                if part.co_flags & inspect.CO_COROUTINE:
                    value = await value
            return value

        if any(part.co_flags & inspect.CO_COROUTINE for part in parts):
            state["loop"] = state["loop"] or asyncio.new_event_loop()
            asyncio.set_event_loop(state["loop"])
            value = state["loop"].run_until_complete(together())
        else:
            for part in parts:
                value = eval(part, globals())
        if last is not None and value is not None and not source.rstrip().endswith(";"):
            globals()["_"] = value
    except BaseException as error:
        kind = type(error).__name__
        if raised is None or isinstance(error, KeyboardInterrupt) and raised != kind:
            raise
        print(f"cell {number} raised {kind}: {error}", file=sys.stderr)
