"""The preflight as the operator runs it: one expression in a session, which it leaves as it was."""

import json
import sqlite3

_LOOK = """(
    sorted(name for name in globals() if name not in ('_', '__builtins__')),
    sorted(os.listdir('.')), sorted(os.listdir(os.environ.get('TMPDIR', '/tmp'))),
    # The pipe of a cell's output is another one each time.
    sorted(os.readlink(f'/proc/self/fd/{n}').partition(':[')[0]
           for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')),
)"""


def test_a_session_is_left_as_it_was(packed, place):
    file = place / "shop.db"
    con = sqlite3.connect(file)
    con.execute("CREATE TABLE orders (id integer)")
    con.close()
    file.chmod(0o644)
    place.chmod(0o755)
    packed.run("import os")
    packed.run(f"os.environ['DATABASE_URL'] = 'sqlite:///{file}'")
    packed.run("connect_database().disconnect()")  # what is loaded late is loaded now
    before = packed.run(_LOOK)["output"]
    answer = packed.run("_preflight(tables=['orders', 'x'], allow_writable=False)")
    assert answer["ok"], answer
    (line,) = answer["output"].splitlines()
    found = json.loads(line)
    assert (found["preflight"], found["ok"]) == (1, False)
    assert [it["name"] for it in found["tables"]] == ["orders"]
    assert [it["kind"] for it in found["failures"]] == ["no_such_table"]
    assert packed.run(_LOOK)["output"] == before
