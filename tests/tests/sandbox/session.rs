//! The session as who writes code in it knows it from `IPython`.

use cataloger::sandbox::{Cell, State, Status};
use cataloger_tests::place::{Place, Subject};

use crate::on_every_transport;

on_every_transport!(
    echoes_the_value_of_a_last_expression,
    keeps_the_namespace,
    shows_tracebacks_without_its_own_frames,
    awaits_at_the_top_level,
    refuses_input,
    says_what_exit_does,
    shows_tables_capped_and_counted,
    plots_without_a_display,
    pickles_what_cells_define,
    keeps_future_imports,
);

async fn echoes_the_value_of_a_last_expression(place: Place) {
    let subject = Subject::bare(place).await;
    assert_eq!(subject.output("1 + 1").await, "2\n");
    assert_eq!(subject.output("'a text'").await, "'a text'\n");
    assert_eq!(subject.output("None").await, "");
    assert_eq!(subject.output("x = 3").await, "");
    assert_eq!(subject.output("x;").await, "");
    assert_eq!(subject.output("x\n# a comment").await, "3\n");
    assert_eq!(subject.output("_ + 1").await, "4\n");
    assert_eq!(subject.output("").await, "");
    assert_eq!(
        subject.output("for i in range(2):\n    print(i)\ni").await,
        "0\n1\n1\n"
    );
    subject.close().await;
}

async fn keeps_the_namespace(place: Place) {
    let subject = Subject::bare(place).await;
    subject
        .output("def double(n):\n    return 2 * n\nclass Thing: pass")
        .await;
    assert!(!subject.run("raise ValueError('x')").await.ok);
    assert_eq!(
        subject.output("double(4), Thing.__module__").await,
        "(8, '__main__')\n"
    );
    subject.close().await;
}

async fn shows_tracebacks_without_its_own_frames(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("def f(n):\n    return 1 / n").await;
    let failed = subject.run("print('before')\nf(0)").await;
    assert_eq!(
        (failed.ok, failed.status, failed.state),
        (false, Status::Error, State::Kept)
    );
    // Where the marks under a line stand differs between versions of Python.
    let lines: Vec<_> = failed.output.lines().filter(|line| !line.contains('^')).collect();
    assert_eq!(
        lines,
        [
            "before",
            "Traceback (most recent call last):",
            "  File \"<cell 2>\", line 2, in <module>",
            "    f(0)",
            "  File \"<cell 1>\", line 2, in f",
            "    return 1 / n",
            "ZeroDivisionError: division by zero"
        ]
    );
    let raised = failed.error.expect("it tells what was raised");
    assert_eq!(
        (raised.name.as_str(), raised.message.as_str()),
        ("ZeroDivisionError", "division by zero")
    );
    let chained = subject
        .run("try:\n    f(0)\nexcept ZeroDivisionError as e:\n    raise ExceptionGroup('g', [KeyError('k'), e]) from e")
        .await;
    assert!(
        !chained.output.contains("cataloger_sandbox"),
        "{}",
        chained.output
    );
    assert!(chained.output.contains("direct cause"), "{}", chained.output);
    let printed = subject
        .run("class Bad:\n    def __str__(self):\n        raise KeyError('inside')\nprint(Bad())")
        .await;
    assert!(
        !printed.output.contains("cataloger_sandbox"),
        "{}",
        printed.output
    );
    let hostile = subject
        .run("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E")
        .await;
    assert_eq!((hostile.status, hostile.state), (Status::Error, State::Kept));
    subject.close().await;
}

async fn awaits_at_the_top_level(place: Place) {
    let subject = Subject::bare(place).await;
    assert_eq!(
        subject
            .output("import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 7\nawait f()")
            .await,
        "7\n"
    );
    assert_eq!(
        subject
            .output("queue = asyncio.Queue()\ntask = asyncio.create_task(queue.put(5))\nawait queue.get()")
            .await,
        "5\n"
    );
    let interrupted = subject
        .cell(Cell {
            timeout: std::time::Duration::from_millis(300),
            ..Cell::new("await asyncio.sleep(60)")
        })
        .await;
    assert_eq!(
        (interrupted.status, interrupted.state),
        (Status::Timeout, State::Kept)
    );
    assert_eq!(subject.output("await f()").await, "7\n");
    subject.close().await;
}

async fn refuses_input(place: Place) {
    let subject = Subject::bare(place).await;
    let asked = subject.run("input('your name: ')").await;
    assert_eq!(asked.error.expect("it raises").name, "InputNotAvailable");
    assert!(
        asked.output.contains("nobody is at the keyboard"),
        "{}",
        asked.output
    );
    assert_eq!(subject.output("import sys\nsys.stdin.read()").await, "''\n");
    subject.close().await;
}

async fn says_what_exit_does(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("x = 1").await;
    for code in [
        "exit()",
        "import sys; sys.exit(3)",
        "raise SystemExit('done')",
        "quit()",
    ] {
        let exited = subject.run(code).await;
        assert_eq!(
            (exited.status, exited.state),
            (Status::Error, State::Kept),
            "{code}: {exited:?}"
        );
        assert!(
            exited.output.contains("the session goes on"),
            "{code}: {}",
            exited.output
        );
    }
    assert_eq!(subject.output("x").await, "1\n");
    subject.close().await;
}

async fn shows_tables_capped_and_counted(place: Place) {
    let subject = Subject::full(place).await;
    subject
        .output(
            "import ibis, pandas as pd, polars as pl, pyarrow as pa, sqlite3\n\
             data = {'n': list(range(500)), 't': ['x'] * 500}\n\
             t = ibis.memtable(data)\n\
             cursor = sqlite3.connect(':memory:').execute(\n    \
             'with recursive r(n) as (select 0 union all select n + 1 from r where n < 499) select n, 1 from r')\n\
             rows = cursor.fetchall()",
        )
        .await;
    for (code, count) in [
        ("pd.DataFrame(data)", "[500 rows x 2 columns]"),
        ("pl.DataFrame(data)", "[7 of 500 rows]"),
        ("pa.table(data)", "[7 of 500 rows]"),
        ("t", "[7 of 500 rows]"),
        ("t[t.n < 5]", "[5 rows]"),
        ("t.n", "[7 of 500 rows]"),
        ("rows", "[7 of 500 rows]"),
    ] {
        for code in [code.to_owned(), format!("print({code})")] {
            let shown = subject
                .cell(Cell {
                    max_rows: 7,
                    ..Cell::new(code.clone())
                })
                .await;
            assert!(shown.ok, "{code}: {}", shown.output);
            assert!(shown.output.contains(count), "{code}: {}", shown.output);
            assert!(shown.output.lines().count() <= 7 + 10, "{code}: {}", shown.output);
        }
    }
    assert_eq!(subject.output("t.n.sum()").await.trim(), "124750");
    let text = subject
        .cell(Cell {
            max_rows: 4,
            ..Cell::new("f'{pd.DataFrame(data)}'")
        })
        .await
        .output;
    assert!(text.contains("[500 rows x 2 columns]"), "{text}");
    subject.close().await;
}

async fn plots_without_a_display(place: Place) {
    let subject = Subject::full(place).await;
    let output = subject
        .output(
            "import io, matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nfile = io.BytesIO()\n\
             plt.savefig(file, format='svg')\nplt.show()\nb'<svg' in file.getvalue()",
        )
        .await;
    assert!(output.ends_with("True\n"), "{output}");
    subject.close().await;
}

async fn pickles_what_cells_define(place: Place) {
    let subject = Subject::bare(place).await;
    assert_eq!(
        subject
            .output("import pickle\nclass P:\n    n = 4\npickle.loads(pickle.dumps(P())).n")
            .await,
        "4\n"
    );
    assert_eq!(
        subject
            .output(
                "import multiprocessing as m\ndef square(n):\n    return n * n\n\
                 with m.get_context('fork').Pool(2) as pool:\n    squares = pool.map(square, range(4))\nsquares"
            )
            .await,
        "[0, 1, 4, 9]\n"
    );
    subject.close().await;
}

async fn keeps_future_imports(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("from __future__ import annotations").await;
    assert_eq!(
        subject.output("def f(x: nowhere): pass\nf.__annotations__").await,
        "{'x': 'nowhere'}\n"
    );
    subject.close().await;
}
