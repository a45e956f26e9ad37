//! Scripts of runs, beside the sessions that ran their cells: they do the same, by themselves.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use cataloger::run::script::{Fate, Kind, Ran, script};
use cataloger::sandbox::Executed;
use cataloger_tests::place::{self, Place, RUN, Subject, Wish};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Runs Python as a user would: nothing of ours is to be found.
async fn python(arguments: &[&str], directory: &Path, env: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(place::python().await)
        .args(arguments)
        .current_dir(directory)
        .env_remove("PYTHONPATH")
        .env_remove("DATABASE_URL")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a Python");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let output = child.wait_with_output().await.expect("it ends");
    drop(writer.await);
    output
}

/// Runs a script; what it printed, and what it said besides.
async fn run(
    text: &str,
    kind: Kind,
    directory: &Path,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> (String, String) {
    let name = match kind {
        Kind::Catalog => "catalog_script.py",
        Kind::Summary => "summary_script.py",
    };
    let elsewhere = tempfile::tempdir().expect("a directory");
    let path = elsewhere.path().join(name);
    std::fs::write(&path, text).expect("it can be written");
    let path = path.to_string_lossy().into_owned();
    let mut all = vec![path.as_str()];
    all.extend(arguments);
    // It asks nobody, even if somebody could answer.
    let output = python(&all, directory, env, "an answer\n").await;
    let said = String::from_utf8(output.stderr).expect("it prints text");
    assert!(output.status.success(), "{said}\n{text}");
    (String::from_utf8(output.stdout).expect("it prints text"), said)
}

fn fate(executed: &Executed) -> Fate<'_> {
    match (&executed.error, &executed.detail) {
        _ if executed.ok => Fate::Ok,
        (Some(raised), _) => Fate::Raised {
            name: &raised.name,
            message: &raised.message,
        },
        (None, detail) => Fate::NotFinished(detail.as_deref().unwrap_or("did not end")),
    }
}

/// Runs cells in a session, and makes their script.
async fn session(subject: &Subject, kind: Kind, cells: &[&str]) -> (Vec<Executed>, String) {
    let mut executed = Vec::new();
    for code in cells {
        executed.push(subject.run(code).await);
    }
    let ran: Vec<Ran<'_>> = (1..)
        .zip(cells.iter().zip(&executed))
        .map(|(number, (code, executed))| Ran {
            number,
            code,
            fate: fate(executed),
        })
        .collect();
    let facts = [("Catalog", "sales"), ("Model", "anthropic/claude-sonnet-5-5")];
    let text = script(kind, RUN.parse().expect("it is a run"), &facts, &ran);
    (executed, text)
}

/// What a script printed on lines that begin so.
fn marked(output: &str) -> Vec<&str> {
    output
        .lines()
        .filter(|line| line.starts_with("RESULT "))
        .collect()
}

/// Cells that each are odd in a way of their own; what they come to is told by the last.
const ODD: &[&str] = &[
    "import asyncio, os, sys\nstate = {}",
    "before = 1\nstate['raised'] = before\nraise ValueError('''it's \"here\"''')\nafter = 2",
    "state['before'] = before\nstate['after'] = 'after' in globals()",
    "def broken(:\n    pass",
    "    indented = 1",
    "%matplotlib inline",
    "async def f(x):\n    await asyncio.sleep(0)\n    return x\n\nstate['awaited'] = await f(3)",
    "queue = asyncio.Queue()\nawait queue.put(4)",
    "state['same loop'] = await queue.get()\nasync with asyncio.timeout(5):\n    state['list'] = [x async for x in agen()] if 'agen' in globals() else None",
    "async def agen():\n    for x in range(3):\n        yield x\nstate['agen'] = [x async for x in agen()]\nstate['f'] = f'{await f(\"x\")}'",
    "state['quotes'] = '''a\"\"\"b'c\\'''d\\\\''' + r'\\d\\'s' + \"it''s\"",
    "x = '''\n# %% not a cell\n#%% nor this\n'''\nstate['marks'] = x",
    "# %% a comment that looks like a cell\nstate['comment'] = 1",
    "state['unicode'] = 'größe 🦀 \u{202e}evil\u{2066} \u{feff}\u{2028}'; größe = 1",
    "state['lines'] = 'a\\\n  b'\r\nstate['cr'] = 1\r",
    "from re import *\nstate['shadowed'] = compile.__module__",
    "global before\nbefore = before + 1\nstate['global'] = before",
    "def counter():\n    global count\n    count = 1\ncounter()\nstate['count'] = count",
    "1 + 41",
    "state['last'] = _ + 1",
    "'kept';",
    "for _ in range(3):\n    pass\nstate['loop'] = _",
    "def _cell(x):\n    return f'<td>{x}</td>'\nstate['cell'] = _cell(1)",
    "exit('enough')",
    "import sys\nsys.exit(3)",
    "try:\n    input('who? ')\nexcept Exception as e:\n    state['input'] = True",
    "exec('def broken(:')",
    "state['name'] = __name__\nclass A: pass\nimport pickle\nstate['pickle'] = type(pickle.loads(pickle.dumps(A()))).__name__",
    "open('mine.py', 'w').write('value = 7\\n')",
    "import mine\nstate['import'] = mine.value",
    "from __future__ import annotations\ndef g(x: Missing) -> Nowhere: return 5\nstate['g'] = g(1)",
    "def h(x: Missing): return 6\nstate['h'] = h(1)\nstate['annotation'] = h.__annotations__['x']",
    "raise KeyboardInterrupt",
    "class Odd(Exception):\n    def __str__(self): return 'a\\nb'\nstate['odd'] = 1\nraise Odd",
    "state['matrix'] = [[1, 2] @ 3] if False else 'ok'",
    "match state:\n    case {'raised': value}: state['match'] = value\n    case _: pass",
    "if True:\n\tstate['tabs'] = 1",
    "state['very last'] = 1 # no end of line",
    "import json\nprint('\\nRESULT', json.dumps(state, sort_keys=True))",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_do_what_the_session_did() {
    let subject = Subject::bare(Place::Local).await;
    let (executed, text) = session(&subject, Kind::Summary, ODD).await;
    let expected = executed.last().expect("there are cells").output.clone();
    assert!(expected.contains("\nRESULT {"), "{expected}");
    let directory = tempfile::tempdir().expect("a directory");
    let (output, said) = run(&text, Kind::Summary, directory.path(), &[], &[]).await;
    assert_eq!(marked(&output), marked(&expected), "{text}");
    // Who raised then, raises now, and says so.
    for (number, executed) in (1..).zip(&executed) {
        let Some(raised) = &executed.error else { continue };
        let early = raised.message.contains("(<cell ");
        assert_eq!(
            said.contains(&format!("cell {number} raised {}", raised.name)),
            !early,
            "{said}"
        );
    }
    subject.close().await;

    // As a file of cells, it does the same in a session.
    let subject = Subject::bare(Place::Local).await;
    let mut cells = vec![String::new()];
    for line in text.lines() {
        if line.starts_with("# %%") {
            cells.push(String::new());
        }
        let cell = cells.last_mut().expect("there is one");
        writeln!(cell, "{line}").expect("memory is there");
    }
    assert_eq!(cells.len(), ODD.len() + 1, "a mark for each cell");
    let mut last = String::new();
    for cell in &cells {
        let executed = subject.run(cell).await;
        assert!(executed.ok, "{cell}\n{executed:?}");
        last = executed.output;
    }
    assert_eq!(marked(&last), marked(&expected));
    subject.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_is_made_again_from_its_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("it is ours");
    let file = directory.path().join("shop.db");
    let code = format!(
        "import sqlite3\nc = sqlite3.connect({:?})\nc.execute('CREATE TABLE orders (id integer, state text)')\n\
         c.executemany('INSERT INTO orders VALUES (?, ?)', [(1, 'new'), (2, 'paid'), (3, 'paid')])\nc.commit()\n",
        file.display()
    );
    let made = python(&["-"], directory.path(), &[], &code).await;
    assert!(made.status.success(), "{made:?}");
    let url = format!("sqlite:///{}", file.display());
    let subject = Subject::start(
        Place::Local,
        Wish {
            packages: true,
            env: vec![("DATABASE_URL".into(), url.clone())],
            ..Wish::default()
        },
    )
    .await;
    let cells = [
        "db = connect_database()\ndb.list_tables()",
        "from html import escape\norders = db.table('orders').count().execute()\ndb.table('nothing')",
        "shares = db.sql('SELECT state, count(*) AS n FROM orders GROUP BY 1 ORDER BY 1').execute()",
        // What a module would not survive, if the helpers lived in it.
        "dict = list = str = sorted = zip = ValueError = os = quote = urlsplit = _OPENERS = None",
        "again = connect_database()\ndb.con.execute('DELETE FROM orders')",
        "page = f\"<p>{orders} orders, {again.table('orders').count().execute()} again</p>\"\n\
         for row in shares.itertuples():\n    page += f'<li>{escape(row.state)}: {row.n}</li>'\nprint('RESULT', page)",
    ];
    let (executed, text) = session(&subject, Kind::Catalog, &cells).await;
    subject.close().await;
    let expected = &executed.last().expect("there are cells").output;
    assert!(expected.contains("3 orders, 3 again"), "{executed:?}");
    assert!(!text.contains(&url), "no URL is in it");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let env = [("DATABASE_URL", url.as_str())];
    let (output, said) = run(&text, Kind::Catalog, elsewhere.path(), &[], &env).await;
    assert_eq!(marked(&output), marked(expected), "{text}");
    assert!(said.contains("readonly"), "{said}");
    // Without a database it says what is missing.
    let path = elsewhere.path().join("script.py");
    std::fs::write(&path, &text).expect("it can be written");
    let bare = python(&["script.py"], elsewhere.path(), &[], "").await;
    let said = String::from_utf8_lossy(&bare.stderr);
    assert!(
        !bare.status.success() && said.contains("DATABASE_URL is not set"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_summary_is_made_again_from_the_catalogs() {
    let directory = tempfile::tempdir().expect("a directory");
    for (run, rows) in [("20261120T120000Z", 10), (RUN, 12)] {
        std::fs::create_dir(directory.path().join(run)).expect("it is ours");
        let page = directory.path().join(run).join("catalog.html");
        std::fs::write(page, format!("<td>{rows}</td>")).expect("it is ours");
    }
    let code = "import re, pathlib\nrows = [int(re.search('[0-9]+', p.read_text())[0]) for p in sorted(pathlib.Path('.').glob('*/catalog.html'))]\nprint('RESULT', rows)";
    let cells = [Ran {
        number: 1,
        code,
        fate: Fate::Ok,
    }];
    let text = script(Kind::Summary, RUN.parse().expect("it is a run"), &[], &cells);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let argument = directory.path().to_string_lossy().into_owned();
    let (output, _) = run(&text, Kind::Summary, elsewhere.path(), &[&argument], &[]).await;
    assert_eq!(output, "RESULT [10, 12]\n");
    let (output, _) = run(&text, Kind::Summary, directory.path(), &[], &[]).await;
    assert_eq!(output, "RESULT [10, 12]\n");
}

/// What odd code is made of.
const PIECES: &[&str] = &[
    "x = 1\n",
    "x\n",
    "_\n",
    "len(_)\n",
    "await f()\n",
    "y = await g(x)\n",
    "global x\n",
    "return 1\n",
    "yield 2\n",
    "def f(a=1):\n    ",
    "async def g():\n    ",
    "if x:\n    ",
    "for _ in x:\n    ",
    "class A:\n    ",
    "pass\n",
    "async with a() as b:\n    ",
    "[i async for i in x]\n",
    "lambda _: _\n",
    "global x; x = 2\n",
    "\tpass\n",
    "from __future__ import annotations\n",
    "from __future__ import (division as d)\n",
    "'''",
    "\"\"\"",
    "'",
    "\"",
    "f'",
    "f\"\"\"",
    "rf'",
    "rb'",
    "{",
    "}",
    "{x!r:>{y}}",
    "{{",
    "(",
    ")",
    "[",
    "]",
    "\\",
    "\\\n",
    "\\N{DASH}",
    "\n",
    "\r\n",
    "\r",
    " ",
    "    ",
    "\t",
    "\x0c",
    ";",
    ":",
    ":=",
    "=",
    "==",
    "#",
    "# %%\n",
    "#%% x\n",
    "# In[3]:\n",
    "%%sql\n",
    "\u{feff}",
    "\u{2028}",
    "\u{202e}",
    "\0",
    "é",
    "🦀",
    "𝔵",
    "'it\\'s'\n",
    "'''a\nb'''\n",
    "r'\\'\n",
    "f'{x[\"a\"]}'\n",
    "f'{await f()}'\n",
    "match x:\n    case _: pass\n",
    "type X = int\n",
    "@f(await g())\n",
    "print('await')\n",
    "0x1for",
    "1if x else 2\n",
    "_cell(1, '''x''')\n",
    "-*- coding: latin-1 -*-\n",
    "\"\"\"doc\"\"\"\n",
];

/// Says of each code what compiling it as a cell says, and whether each script compiles and holds each code.
const JUDGE: &str = r#"
import ast, json, sys, warnings
warnings.simplefilter("ignore")
asked = json.load(sys.stdin)
answers = []
for code in asked.get("codes", []):
    try:
        compile(code, "<cell 1>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        answers.append(None)
    except (SyntaxError, ValueError) as error:
        answers.append([type(error).__name__, str(error)])
for script, codes, helper in asked.get("scripts", []):
    try:
        # As a file is read: the ends of lines become one.
        text = script.encode().decode()
        assert text == text.replace("\r\n", "\n").replace("\r", "\n"), "ends of lines"
        compile(script.encode(), "script.py", "exec", dont_inherit=True)
        texts = {
            call.args[0].value: call.args[1].value
            for call in ast.walk(ast.parse(script.encode()))
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == helper
        }
        for number, code in codes:
            assert texts.get(number) == code or f"\n# %% {number}\n{code.rstrip()}\n" in script, number
        answers.append(None)
    except Exception as error:
        answers.append(f"{type(error).__name__}: {error}")
json.dump(answers, sys.stdout)
"#;

async fn judged(question: &Value) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("judge.py"), JUDGE).expect("it is ours");
    let output = python(&["judge.py"], directory.path(), &[], &question.to_string()).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("it answers in JSON")
}

/// Code of odd pieces, of which Python takes a good part; in company, and with all that it refuses.
#[tokio::test]
async fn no_script_is_broken_by_odd_code() {
    use rand::{RngExt as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(20_261_121);
    let codes: Vec<String> = (0..20_000)
        .map(|_| {
            let pieces = random.random_range(1..7);
            (0..pieces)
                .map(|_| PIECES[random.random_range(0..PIECES.len())])
                .collect()
        })
        .collect();
    let answers = judged(&json!({"codes": codes})).await;
    let good = answers.iter().filter(|answer| answer.is_null()).count();
    assert!(good > 2000, "only {good} codes are good");
    let mut scripts = Vec::new();
    let mut cells = codes.iter().zip(&answers);
    loop {
        let chunk: Vec<(u32, (&String, &Value))> = (1..)
            .zip(cells.by_ref().take(random.random_range(1..8)))
            .collect();
        if chunk.is_empty() {
            break;
        }
        let ran: Vec<Ran<'_>> = chunk
            .iter()
            .map(|(number, (code, answer))| Ran {
                number: *number,
                code,
                fate: match answer {
                    Value::Null => Fate::Ok,
                    other => Fate::Raised {
                        name: other[0].as_str().expect("a name"),
                        message: other[1].as_str().expect("a message"),
                    },
                },
            })
            .collect();
        let good: Vec<(u32, &String)> = chunk
            .iter()
            .filter(|(_, (_, answer))| answer.is_null())
            .map(|(number, (code, _))| (*number, *code))
            .collect();
        let text = script(Kind::Summary, RUN.parse().expect("it is a run"), &[], &ran);
        let marks = text.lines().filter(|line| line.starts_with("# %%")).count();
        assert_eq!(marks, ran.len(), "{text}");
        let helper = if codes_name(&ran) { "_cell_" } else { "_cell" };
        scripts.push(json!([text, good, helper]));
    }
    let answers = judged(&json!({"scripts": scripts})).await;
    for (script, answer) in scripts.iter().zip(&answers) {
        assert!(
            answer.is_null(),
            "{answer}\n{}",
            script[0].as_str().expect("a text")
        );
    }
}

fn codes_name(ran: &[Ran<'_>]) -> bool {
    ran.iter().any(|cell| cell.code.contains("_cell"))
}
