//! The local sandbox against the real daemon, without the data packages: starts, runs, ends.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cataloger::sandbox::local::{Interpreter, LocalOptions, LocalSandbox};
use cataloger::sandbox::{CallId, Cell, Executed, Sandbox, State, Status, Variables};

async fn start() -> LocalSandbox {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../sandbox-image/src")
        .canonicalize()
        .unwrap();
    let python =
        std::env::var_os("CATALOGER_PYTHON").map_or_else(|| PathBuf::from("/usr/bin/python3"), PathBuf::from);
    let env = Variables::from_iter([("DATABASE_URL", "postgresql://reader:hunter2@db/sales")]);
    let mut options = LocalOptions::new(Interpreter { python, package }, env);
    options.preload = Some(Vec::new());
    LocalSandbox::start(options).await.unwrap()
}

async fn run(sandbox: &LocalSandbox, code: &str) -> Executed {
    let mut streamed = String::new();
    let id = sandbox.last_call().next();
    let result = sandbox
        .execute(id, &Cell::new(code), &mut |chunk| streamed.push_str(&chunk.text))
        .await
        .unwrap();
    assert!(
        result.output.starts_with(&streamed),
        "{streamed:?} is not the begin of {:?}",
        result.output
    );
    result
}

#[tokio::test]
async fn a_session_from_begin_to_end() {
    let sandbox = start().await;
    let result = run(&sandbox, "1 + 1").await;
    assert_eq!(
        (result.status, result.output.as_str()),
        (Status::Ok, "2\n"),
        "{result:?}"
    );
    run(&sandbox, "x = 41").await;
    assert_eq!(run(&sandbox, "x + 1").await.output, "42\n");
    assert_eq!(
        run(&sandbox, "import os; len(os.environ['DATABASE_URL'])")
            .await
            .output,
        "36\n"
    );

    let raised = run(&sandbox, "1 / 0").await;
    assert_eq!((raised.status, raised.state), (Status::Error, State::Kept));
    assert_eq!(raised.error.unwrap().name, "ZeroDivisionError");

    let put = sandbox
        .put_file(
            sandbox.last_call().next(),
            "in/a.txt",
            Bytes::from_static(b"hello"),
            false,
        )
        .await
        .unwrap();
    assert!(put.ok, "{put:?}");
    assert_eq!(run(&sandbox, "open('in/a.txt').read()").await.output, "'hello'\n");

    let reset = sandbox
        .reset(sandbox.last_call().next(), &Variables::new())
        .await
        .unwrap();
    assert!(reset.ok, "{reset:?}");
    assert_eq!(
        run(
            &sandbox,
            "import os; 'x' in globals(), os.listdir(), 'DATABASE_URL' in os.environ"
        )
        .await
        .output,
        "(False, [], False)\n"
    );

    let status = sandbox.status().await.unwrap();
    assert_eq!((status.boot, status.last), (sandbox.boot(), sandbox.last_call()));
    sandbox.acknowledge(sandbox.last_call()).await.unwrap();
    assert_eq!(sandbox.status().await.unwrap().kept, []);
    sandbox.close().await.unwrap();
}

#[tokio::test]
async fn an_interrupt_ends_a_call() {
    let sandbox = start().await;
    run(&sandbox, "1").await;
    let cell = Cell {
        timeout: Duration::from_secs(30),
        ..Cell::new("import time\nprint('on')\ntime.sleep(100)")
    };
    let (sent, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let mut output = move |chunk| drop(sent.send(chunk));
    let call = sandbox.execute(CallId(2), &cell, &mut output);
    let interrupt = async {
        begun.recv().await.unwrap();
        sandbox.interrupt(CallId(2)).await.unwrap();
    };
    let (result, ()) = tokio::join!(call, interrupt);
    assert_eq!(result.unwrap().status, Status::Interrupted);
    sandbox.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_left_of_a_closed_sandbox() {
    let sandbox = start().await;
    let marker = format!("cataloger-test-{}", sandbox.pid());
    let code = format!(
        "import os, subprocess\nopen('/tmp/{marker}', 'w').close()\n\
         for _ in range(3): subprocess.Popen(['sleep', '4321'], start_new_session=True)\n\
         deep = os.getcwd()\n\
         for _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\n\
         os.getuid()"
    );
    let said = run(&sandbox, &code).await;
    assert_eq!(said.status, Status::Ok, "{said:?}");
    let uid: u32 = said.output.trim().parse().unwrap();
    let directory = sandbox.directory().parent().unwrap().to_owned();
    let daemon = format!("/proc/{}", sandbox.pid());
    assert!(Path::new(&daemon).exists() && directory.exists());
    sandbox.close().await.unwrap();
    sandbox.close().await.unwrap();
    assert!(!Path::new(&daemon).exists(), "the daemon lives on");
    assert!(!directory.exists(), "the directories are still there");
    if rustix::process::geteuid().is_root() {
        assert!(uid > 0);
        assert!(
            !Path::new("/tmp").join(&marker).exists(),
            "a file in /tmp is still there"
        );
    } else {
        drop(std::fs::remove_file(Path::new("/tmp").join(&marker)));
    }
    assert_eq!(sleepers(uid), 0);
}

#[tokio::test]
async fn a_dropped_sandbox_ends_by_itself() {
    let sandbox = start().await;
    let said = run(
        &sandbox,
        "import os, subprocess; subprocess.Popen(['sleep', '1234']); os.getuid()",
    )
    .await;
    let uid: u32 = said.output.trim().parse().unwrap();
    let (daemon, directory) = (format!("/proc/{}", sandbox.pid()), sandbox.directory().to_owned());
    drop(sandbox);
    let begin = Instant::now();
    while Path::new(&daemon).exists() || directory.exists() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(sleepers(uid), 0);
}

#[tokio::test]
async fn a_killed_thin_client_costs_a_reconnect() {
    let sandbox = start().await;
    run(&sandbox, "x = 1").await;
    let cell = Cell::new("import time; time.sleep(1); x += 1; x");
    let mut ignored = |_| {};
    let call = sandbox.execute(CallId(2), &cell, &mut ignored);
    let kill = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(kill_clients(&sandbox), 1);
    };
    let (result, ()) = tokio::join!(call, kill);
    assert_eq!(result.unwrap().output, "2\n");
    sandbox.close().await.unwrap();
}

#[tokio::test]
async fn a_python_that_can_not_start_is_told() {
    let interpreter = Interpreter {
        python: "/bin/false".into(),
        package: "/nowhere".into(),
    };
    let error = LocalSandbox::start(LocalOptions::new(interpreter, Variables::new()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("exit status: 1"), "{error}");
}

/// Ends the thin clients of a sandbox.
fn kill_clients(sandbox: &LocalSandbox) -> usize {
    let arguments = |pid: i32| -> Vec<Vec<u8>> {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
    };
    let daemon = arguments(sandbox.pid().try_into().unwrap());
    let at = daemon
        .iter()
        .position(|argument| argument == b"--socket")
        .unwrap();
    let mut killed = 0;
    for (pid, _) in processes() {
        let arguments = arguments(pid);
        if arguments.iter().any(|argument| argument == b"connect") && arguments.contains(&daemon[at + 1]) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            killed += 1;
        }
    }
    killed
}

fn sleepers(uid: u32) -> usize {
    let uid = uid.to_string();
    let ours = |status: &str| {
        status
            .lines()
            .any(|line| line.starts_with("Uid:") && line.split_ascii_whitespace().any(|word| word == uid))
            && status
                .lines()
                .any(|line| line.split_ascii_whitespace().eq(["Name:", "sleep"]))
    };
    processes().into_iter().filter(|(_, status)| ours(status)).count()
}

fn processes() -> Vec<(i32, String)> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?))
        })
        .collect()
}
