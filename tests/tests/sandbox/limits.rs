//! Each way to break out of bounds has a defined answer, and the next call works.

use std::time::{Duration, Instant};

use cataloger::sandbox::{Cell, Executed, State, Status};
use cataloger_tests::cluster::cluster;
use cataloger_tests::place::{Place, Subject, Wish};

use crate::on_every_transport;

on_every_transport!(
    interrupts_at_the_timeout_and_keeps_the_state,
    replaces_what_does_not_give_way,
    interrupts_on_request,
    ends_what_uses_too_much_memory,
    ends_storms_of_forks,
    tells_how_a_process_ended,
    leaves_threads_and_children_alone,
    takes_code_of_any_size_and_shape,
    survives_bombs_of_recursion,
    survives_loops_at_exit,
);

/// What only a Pod has: a cgroup whose limit the kernel enforces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lives_below_its_containers_limit() {
    crate::within_deadline(async {
        let subject = Subject::start(
            Place::Pod,
            Wish {
                cgroup: Some(400 << 20),
                ..Wish::default()
            },
        )
        .await;
        let before = subject.status().await;
        assert!(before.memory_limit.is_some_and(|limit| limit < 400 << 20), "{before:?}");
        for code in [
            "x = []\nwhile True: x.append(bytearray(1 << 20))",
            "import os\nfile = os.memfd_create('held')\nblock = b'x' * (1 << 20)\nwhile True: os.write(file, block)",
            "block = b'x' * (1 << 20)\nwith open('/work/full', 'wb') as file:\n    while True: file.write(block)",
        ] {
            let executed = subject.run(code).await;
            assert_eq!(outcome(&executed), (false, Status::OutOfMemory, State::Lost), "{code}: {executed:?}");
            let removed = executed.detail.is_some_and(|detail| detail.contains("files were removed"));
            assert_eq!(removed, code.contains("/work/full"), "{code}");
            assert_eq!(subject.output("import os\nos.listdir('/work')").await, "[]\n");
        }
        let after = subject.status().await;
        assert_eq!(before.boot, after.boot);
        assert!(after.memory_bytes < before.memory_bytes + (50 << 20), "{after:?}");
        subject.close().await;
    })
    .await;
}

fn outcome(executed: &Executed) -> (bool, Status, State) {
    (executed.ok, executed.status, executed.state)
}

fn short(code: &str) -> Cell {
    Cell {
        timeout: Duration::from_millis(400),
        grace: Duration::from_millis(400),
        ..Cell::new(code)
    }
}

async fn interrupts_at_the_timeout_and_keeps_the_state(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("x = 5").await;
    for code in [
        "while True: pass",
        "import time\ntime.sleep(60)",
        "import subprocess\nsubprocess.run(['sleep', '60'])",
        "import threading\nthreading.Event().wait(60)",
    ] {
        let began = Instant::now();
        let executed = subject.cell(short(code)).await;
        assert_eq!(
            outcome(&executed),
            (false, Status::Timeout, State::Kept),
            "{code}: {executed:?}"
        );
        assert!(
            executed
                .detail
                .as_deref()
                .is_some_and(|text| text.contains("0.4 s")),
            "{executed:?}"
        );
        assert!(executed.output.contains("KeyboardInterrupt"), "{executed:?}");
        assert!(began.elapsed() >= Duration::from_millis(400));
        assert_eq!(subject.output("x").await, "5\n");
    }
    subject.close().await;
}

async fn replaces_what_does_not_give_way(place: Place) {
    let subject = Subject::bare(place).await;
    for code in [
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        "import signal\nsignal.signal(signal.SIGINT, lambda *a: None)\nwhile True: pass",
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\ntime.sleep(60)",
        "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    ] {
        subject.output("x = 5").await;
        let executed = subject.cell(short(code)).await;
        assert_eq!(
            outcome(&executed),
            (false, Status::Timeout, State::Lost),
            "{code}: {executed:?}"
        );
        assert!(
            executed
                .detail
                .as_deref()
                .is_some_and(|text| text.contains("did not give way")),
            "{executed:?}"
        );
        let next = subject.run("x").await;
        assert_eq!(next.error.expect("x is gone").name, "NameError", "after {code}");
        assert_eq!(next.notice, None, "the caller knows already");
    }
    // A handler that was left behind does not outlive its call.
    subject
        .output("import signal\nold = signal.signal(signal.SIGINT, signal.SIG_IGN)")
        .await;
    let executed = subject.cell(short("while True: pass")).await;
    assert_eq!(
        outcome(&executed),
        (false, Status::Timeout, State::Kept),
        "{executed:?}"
    );
    subject.close().await;
}

async fn interrupts_on_request(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("x = 5").await;
    let id = subject.id();
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let mut show = move |_| {
        let _ = sender.send(());
    };
    let cell = Cell::new("print('begun')\nwhile True: pass");
    let running = subject.sandbox().execute(id, &cell, &mut show);
    let interrupt = async {
        begun.recv().await.expect("it begins");
        subject
            .sandbox()
            .interrupt(id)
            .await
            .expect("it can be interrupted");
    };
    let (executed, ()) = tokio::join!(running, interrupt);
    let executed = executed.expect("it ends");
    assert_eq!(outcome(&executed), (false, Status::Interrupted, State::Kept));
    assert_eq!(subject.output("x").await, "5\n");
    // One that comes late interrupts nothing.
    subject.sandbox().interrupt(id).await.expect("it is passed over");
    assert_eq!(subject.output("x").await, "5\n");
    subject.close().await;
}

async fn ends_what_uses_too_much_memory(place: Place) {
    let subject = Subject::start(
        place,
        Wish {
            memory: Some(300 << 20),
            ..Wish::default()
        },
    )
    .await;
    let before = subject.status().await;
    for code in [
        "x = bytearray(2 << 30)",
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        "import os, time\npids = [os.fork() for _ in range(3)]\nx = bytearray(90 << 20)\ntime.sleep(60)",
    ] {
        let executed = subject.run(code).await;
        assert_eq!(
            outcome(&executed),
            (false, Status::OutOfMemory, State::Lost),
            "{code}: {executed:?}"
        );
        assert!(
            executed
                .detail
                .as_deref()
                .is_some_and(|text| text.contains("300 MiB")),
            "{executed:?}"
        );
        assert_eq!(subject.output("1").await, "1\n");
    }
    // Between two calls: the next one is told.
    subject
        .output(
            "import os, threading\ndef eat():\n    while not os.path.exists('go'): pass\n    global x\n    x = bytearray(1 << 30)\n\
             threading.Thread(target=eat).start()",
        )
        .await;
    let generation = subject.status().await.generation;
    subject.touch("go").await;
    while subject.status().await.generation == generation {
        tokio::task::yield_now().await;
    }
    let next = subject.run("2").await;
    assert_eq!(next.output, "2\n");
    assert!(next.notice.is_some_and(|notice| notice.contains("300 MiB")));
    let after = subject.status().await;
    assert_eq!(before.boot, after.boot);
    subject.close().await;
}

async fn ends_storms_of_forks(place: Place) {
    let subject = Subject::start(
        place,
        Wish {
            processes: Some(100),
            ..Wish::default()
        },
    )
    .await;
    let executed = subject
        .run("import os, time\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.01)")
        .await;
    assert_eq!(
        outcome(&executed),
        (false, Status::TooManyProcesses, State::Lost),
        "{executed:?}"
    );
    assert!(
        executed
            .detail
            .as_deref()
            .is_some_and(|text| text.contains("100 are allowed")),
        "{executed:?}"
    );
    assert_eq!(subject.output("1").await, "1\n");
    assert_eq!(subject.status().await.processes, 1);
    // Children that come back into our loop end there, and speak for nobody.
    let forked = subject
        .run("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint('both')\npid > 0")
        .await;
    assert_eq!(forked.output.matches("both").count(), 2, "{forked:?}");
    assert_eq!(subject.output("3").await, "3\n");
    subject.close().await;
}

/// Nothing but the kubelet's limit holds this one back, which another cluster may lack; as a process, its user's limit
/// does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comes_back_from_a_storm_that_never_rests() {
    crate::within_deadline(async {
        if !cluster().await.own {
            return;
        }
        let subject = Subject::bare(Place::Pod).await;
        let began = Instant::now();
        let executed = subject
            .cell(Cell {
                timeout: Duration::from_secs(100),
                ..Cell::new("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")
            })
            .await;
        assert_eq!(
            outcome(&executed),
            (false, Status::TooManyProcesses, State::Lost),
            "{executed:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(subject.output("1").await, "1\n");
        subject.close().await;
    })
    .await;
}

async fn tells_how_a_process_ended(place: Place) {
    let subject = Subject::bare(place).await;
    for (code, status, says) in [
        ("import os\nos._exit(7)", Status::Exited, "code 7"),
        (
            "import os\nprint('x', end='')\nos._exit(0)",
            Status::Exited,
            "code 0",
        ),
        ("import os\nos.kill(os.getpid(), 9)", Status::Killed, "SIGKILL"),
        ("import os\nos.kill(os.getpid(), 15)", Status::Killed, "SIGTERM"),
        ("import ctypes\nctypes.string_at(0)", Status::Killed, "SIGSEGV"),
        ("import os\nos.abort()", Status::Killed, "SIGABRT"),
        (
            "import os\nos.execvp('sh', ['sh', '-c', 'exit 9'])",
            Status::Corrupted,
            "channel",
        ),
    ] {
        let executed = subject.run(&format!("print('before')\n{code}")).await;
        assert_eq!(executed.state, State::Lost, "{code}: {executed:?}");
        let detail = executed.detail.clone().expect("it says what happened");
        if status == Status::Corrupted {
            // Which of the two is noticed first is the kernel's choice.
            assert!(
                matches!(executed.status, Status::Corrupted | Status::Exited),
                "{executed:?}"
            );
        } else {
            assert_eq!(executed.status, status, "{code}: {executed:?}");
            assert!(detail.contains(says), "{code}: {detail}");
        }
        assert!(executed.output.starts_with("before\n"), "{code}: {executed:?}");
        let next = subject.run("1").await;
        assert_eq!((next.output.as_str(), next.notice), ("1\n", None), "after {code}");
    }
    subject.close().await;
}

async fn leaves_threads_and_children_alone(place: Place) {
    let subject = Subject::bare(place).await;
    subject
        .output(
            "import subprocess, threading, time\nbox = []\n\
             def work():\n    while len(box) < 5:\n        box.append(1)\n        time.sleep(0.01)\n\
             t = threading.Thread(target=work)\nt.start()\nchild = subprocess.Popen(['sleep', '30'])\n\
             subprocess.Popen('sleep 30 & sleep 31 &', shell=True).wait()",
        )
        .await;
    assert_eq!(
        subject.output("t.join()\nlen(box), child.poll()").await,
        "(5, None)\n"
    );
    assert_eq!(subject.status().await.processes, 4);
    subject.reset(&[]).await;
    assert_eq!(subject.status().await.processes, 1);
    subject.close().await;
}

async fn takes_code_of_any_size_and_shape(place: Place) {
    let subject = Subject::bare(place).await;
    for code in [
        "x = 1\0",
        "x = (",
        "  x = 1",
        "def f(:",
        "\u{feff}x y",
        "((((((((((",
    ] {
        let executed = subject.run(code).await;
        assert_eq!(
            outcome(&executed),
            (false, Status::Error, State::Kept),
            "{code:?}: {executed:?}"
        );
        let name = executed.error.expect("it raises").name;
        assert!(
            ["SyntaxError", "IndentationError", "ValueError"].contains(&name.as_str()),
            "{code:?}: {name}"
        );
    }
    let megabyte = format!("text = '''{}'''\nlen(text)", "é\n".repeat(400_000));
    assert_eq!(subject.output(&megabyte).await, "800000\n");
    let lines = format!("{}n", "n = 1\n".repeat(100_000));
    assert_eq!(subject.output(&lines).await, "1\n");
    let deep = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let executed = subject.run(&deep).await;
    assert!(!executed.ok);
    assert_eq!(subject.output("# nothing but a comment").await, "");
    assert_eq!(subject.output("x = 'é€𝄞'\nx").await, "'é€𝄞'\n");
    subject.close().await;
}

async fn survives_bombs_of_recursion(place: Place) {
    let subject = Subject::bare(place).await;
    subject.output("x = 1").await;
    let python = subject.run("def f(): return f()\nf()").await;
    assert_eq!(
        outcome(&python),
        (false, Status::Error, State::Kept),
        "{python:?}"
    );
    assert_eq!(python.error.expect("it raises").name, "RecursionError");
    assert!(python.output.len() < 3000, "{}", python.output);
    let deep = subject.run("import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __repr__(self):\n        return repr(self)\nrepr(A())").await;
    assert!(!deep.ok, "{deep:?}");
    let list = subject.run("l = []\nfor _ in range(10**6): l = [l]\nl").await;
    assert!(!list.ok || list.output.len() < 200_000);
    assert_eq!(subject.output("2").await, "2\n");
    subject.close().await;
}

async fn survives_loops_at_exit(place: Place) {
    let subject = Subject::bare(place).await;
    subject
        .output("import atexit, signal\n@atexit.register\ndef forever():\n    while True: pass\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nNone")
        .await;
    let exited = subject.run("exit()").await;
    assert_eq!(outcome(&exited), (false, Status::Error, State::Kept));
    let began = Instant::now();
    let reset = subject.reset(&[]).await;
    assert!(reset.ok, "{reset:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    subject
        .output("import atexit, signal\n@atexit.register\ndef forever():\n    while True: pass\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nNone")
        .await;
    subject.close().await;
}
