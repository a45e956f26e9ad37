//! Output: in order, streamed, capped, whatever its bytes are, and credited to the right call.

use cataloger::sandbox::{Cell, State, Status};
use cataloger_tests::place::{Place, Subject};

use crate::on_every_transport;

on_every_transport!(
    keeps_the_order_of_stdout_and_stderr,
    streams_while_it_comes,
    keeps_head_and_tail_of_gigabytes,
    shows_any_bytes,
    survives_closed_and_replaced_descriptors,
    credits_no_output_of_earlier_threads,
    credits_no_output_of_earlier_processes,
);

async fn keeps_the_order_of_stdout_and_stderr(place: Place) {
    let subject = Subject::bare(place).await;
    let output = subject
        .output(
            "import os, subprocess, sys\nfor i in range(3):\n    print('out', i)\n    print('err', i, file=sys.stderr)\n\
             os.system('echo system')\nsubprocess.run(['sh', '-c', 'echo child >&2'])\nos.write(1, b'raw\\n')\n\
             print('partial', end='')\nsys.stderr.write(' then err\\n')\nsys.stdout.buffer.write(b'bytes\\n')\nprint('last')",
        )
        .await;
    assert_eq!(
        output,
        "out 0\nerr 0\nout 1\nerr 1\nout 2\nerr 2\nsystem\nchild\nraw\npartial then err\nbytes\nlast\n"
    );
    subject.close().await;
}

async fn streams_while_it_comes(place: Place) {
    let subject = Subject::bare(place).await;
    let id = subject.id();
    let (sender, mut chunks) = tokio::sync::mpsc::unbounded_channel();
    let mut show = move |chunk: cataloger::sandbox::Chunk| {
        let _ = sender.send(chunk.text);
    };
    // It ends only by the interrupt, and that is sent once its first lines were seen.
    let cell = Cell::new(
        "import time\nprint('first')\nwhile True:\n    print('.', end='', flush=True)\n    time.sleep(0.01)",
    );
    let running = subject.sandbox().execute(id, &cell, &mut show);
    let seen = async {
        let mut text = String::new();
        while !text.contains("first\n..") {
            text += &chunks.recv().await.expect("output comes while the call runs");
        }
        subject
            .sandbox()
            .interrupt(id)
            .await
            .expect("it can be interrupted");
        text
    };
    let (executed, seen) = tokio::join!(running, seen);
    let executed = executed.expect("it ends");
    assert_eq!(executed.status, Status::Interrupted);
    assert!(
        executed.output.starts_with(&seen),
        "{seen:?} was shown of {:?}",
        executed.output
    );
    subject.close().await;
}

async fn keeps_head_and_tail_of_gigabytes(place: Place) {
    let subject = Subject::bare(place).await;
    let executed = subject
        .cell(Cell {
            output_limit: 10_000,
            ..Cell::new(
                "import os\nprint('begin')\nblock = ('é' * 499_999 + '\\n').encode()\n\
                 for _ in range(2000):\n    os.write(1, block)\nprint('end')",
            )
        })
        .await;
    assert!(executed.ok, "{executed:?}");
    let total = 6 + 2000 * 999_999 + 4;
    assert_eq!(executed.total, total);
    assert!(
        executed.output.starts_with("begin\né"),
        "{}",
        &executed.output[..100]
    );
    assert!(executed.output.ends_with("é\nend\n"));
    assert!(executed.output.len() < 10_000 + 100);
    assert!(!executed.output.contains('\\'), "no character is cut in two");
    assert!(
        executed.omitted > total - 10_010 && executed.omitted < total - 9_980,
        "{}",
        executed.omitted
    );
    let number = executed.omitted.to_string();
    let digits: String = executed
        .output
        .split("[...")
        .nth(1)
        .expect("it says so")
        .chars()
        .take_while(|c| *c != 'b')
        .filter(char::is_ascii_digit)
        .collect();
    assert_eq!(digits, number);
    assert!(executed.output.starts_with(&subject.seen()));
    let status = subject.status().await;
    assert!(
        status.daemon_bytes < 40 << 20,
        "{} bytes in the daemon",
        status.daemon_bytes
    );
    subject.close().await;
}

async fn shows_any_bytes(place: Place) {
    let subject = Subject::bare(place).await;
    assert_eq!(
        subject
            .output("import os\nx = os.write(1, b'a\\xff\\xfe\\x00b\\n')")
            .await,
        "a\\xff\\xfe\0b\n"
    );
    assert_eq!(
        subject.output("print('\\ud800 \\udcff')").await,
        "\\ud800 \\udcff\n"
    );
    assert_eq!(subject.output("'\\ud800'").await, "'\\ud800'\n");
    let all = subject.output("x = os.write(1, bytes(range(256)) * 1000)").await;
    assert!(all.contains("\\xff"));
    // A character that arrives in two pieces is one.
    assert_eq!(
        subject
            .output("import time\nx = os.write(1, b'\\xe2\\x82')\ntime.sleep(0.1)\nx = os.write(1, b'\\xac')")
            .await,
        "€"
    );
    subject.close().await;
}

async fn survives_closed_and_replaced_descriptors(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("kept = 1").await;
    for code in [
        "import os\nos.close(0); os.close(1); os.close(2)",
        "import os\nos.closerange(0, 3)",
        "import os\nos.closerange(3, 256)",
        "import os\nnull = os.open('/dev/null', os.O_RDWR)\nos.dup2(null, 1); os.dup2(null, 2)",
        "import sys\nsys.stdout.close(); sys.stderr.close(); sys.stdin.close()",
        "import sys\nsys.stdout = sys.stderr = sys.stdin = None",
        "import io, sys\nsys.stdout = io.StringIO()",
        "import builtins, sys\nsys.stdout.write = None\nbuiltins.print = None",
    ] {
        let executed = subject.run(code).await;
        assert_eq!(executed.state, State::Kept, "{code}: {executed:?}");
        assert_eq!(
            subject.output("print('here')\nkept").await,
            "here\n1\n",
            "after {code}"
        );
        let failed = subject.run("1/0").await;
        assert!(
            failed.output.ends_with("division by zero\n"),
            "after {code}: {failed:?}"
        );
    }
    let all = subject.run("import os\nos.closerange(0, 65536)").await;
    assert_eq!(
        (all.status, all.state),
        (Status::Corrupted, State::Lost),
        "{all:?}"
    );
    assert_eq!(subject.output("2").await, "2\n");
    subject.close().await;
}

async fn credits_no_output_of_earlier_threads(place: Place) {
    let subject = Subject::bare(place).await;
    subject
        .output(
            "import threading\nstop, spoke = threading.Event(), threading.Semaphore(0)\n\
             def chatter():\n    while not stop.is_set():\n        print('chatter')\n        spoke.release()\n        \
             stop.wait(0.002)\n\
             def spawn():\n    child = threading.Thread(target=chatter, daemon=True)\n    child.start()\n    child.join()\n\
             for target in (chatter, spawn):\n    threading.Thread(target=target, daemon=True).start()",
        )
        .await;
    let later = subject
        .run("while spoke.acquire(blocking=False): pass\nfor _ in range(20): spoke.acquire()\nprint('mine')")
        .await;
    assert_eq!(later.output, "mine\n");
    let background = later.background.expect("it tells what the threads wrote");
    assert!(background.output.contains("chatter\n"), "{background:?}");
    let own = subject
        .run("t = threading.Thread(target=print, args=('of this call',))\nt.start()\nt.join()\nstop.set()")
        .await;
    assert_eq!(own.output, "of this call\n");
    subject.close().await;
}

async fn credits_no_output_of_earlier_processes(place: Place) {
    let subject = Subject::bare(place).await;
    let first = subject
        .run("import os, subprocess\np = subprocess.Popen(['sh', '-c', 'echo early; touch said; read x; echo late'], stdin=subprocess.PIPE)\n\
              while not os.path.exists('said'): pass")
        .await;
    assert_eq!(first.output, "early\n");
    let second = subject
        .run("p.stdin.write(b'go\\n'); p.stdin.close(); p.wait()")
        .await;
    assert_eq!(second.output, "0\n");
    assert_eq!(second.background.expect("it is told").output, "late\n");
    assert_eq!(subject.run("3").await.background, None);
    subject.close().await;
}
