//! The sandbox: calls, starts, output.

use std::process::Stdio;
use std::time::{Duration, Instant};

use cataloger::sandbox::Cell;
use cataloger::sandbox::client::Dial;
use cataloger::sandbox::pod::exec::ExecDial;
use cataloger_tests::measure::Times;
use cataloger_tests::place::{Place, Subject, Wish};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// All of them, in a place.
pub(crate) async fn all(place: Place, number: usize, number_of_starts: usize) {
    calls(place, number).await;
    for packages in [false, true] {
        starts(place, packages, number_of_starts).await;
    }
    throughput(place).await;
}

/// About what a call for `1` and its answer have.
const ECHO_BYTES: usize = 450;

/// A process that says what it hears: the least that a stream can do.
struct Echo {
    to: Box<dyn AsyncWrite + Send + Unpin>,
    from: Box<dyn AsyncRead + Send + Unpin>,
    _guard: Box<dyn std::any::Any>,
}

const ECHO: &str = "import os\nwhile data := os.read(0, 65536): os.write(1, data)";

/// Through pipes of this machine, or through exec into the same Pod.
async fn echo(subject: &Subject) -> Echo {
    if subject.place() == Place::Pod {
        let (sandbox, cluster) = subject.pod();
        let python = ["/opt/venv/bin/python", "-I", "-S", "-c", ECHO];
        let exec = ExecDial::of(cluster.pods(), sandbox.name(), sandbox.uid(), python);
        let connection = exec.dial().await.expect("exec opens");
        return Echo {
            to: connection.writer,
            from: connection.reader,
            _guard: Box::new(connection.guard),
        };
    }
    let mut process = tokio::process::Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("cat can be started");
    Echo {
        to: Box::new(process.stdin.take().expect("it is piped")),
        from: Box::new(process.stdout.take().expect("it is piped")),
        _guard: Box::new(process),
    }
}

/// `execute("1")` against the echo of as many bytes through bare pipes, or bare exec, taken in turn.
async fn calls(place: Place, number: usize) {
    let subject = Subject::full(place).await;
    let Echo {
        mut to,
        mut from,
        _guard,
    } = echo(&subject).await;
    let cell = Cell::new("1");
    let (mut calls, mut echoes) = (Times::default(), Times::default());
    let mut buffer = vec![0; ECHO_BYTES];
    for turn in 0..number + 50 {
        let id = subject.id();
        let began = Instant::now();
        let executed = subject
            .sandbox()
            .execute(id, &cell, &mut |_| {})
            .await
            .expect("it runs");
        let took = began.elapsed();
        assert_eq!(executed.output, "1\n");
        subject.sandbox().acknowledge(id).await.expect("it is heard");
        let began = Instant::now();
        to.write_all(&buffer).await.expect("the pipe takes it");
        to.flush().await.expect("the pipe takes it");
        from.read_exact(&mut buffer).await.expect("it comes back");
        if turn >= 50 {
            calls.add(took);
            echoes.add(began.elapsed());
        }
    }
    println!("bench: {place:?} execute(\"1\") {calls}");
    println!("bench: {place:?} echo of {ECHO_BYTES} bytes {echoes}");
    println!(
        "bench: {place:?} execute over echo ratio={:.1}",
        calls.ratio(&echoes)
    );
    let status = subject.status().await;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mebibytes = status.daemon_bytes as f64 / f64::from(1 << 20);
    println!(
        "bench: {place:?} daemon's resident memory after {number} calls {mebibytes:.1} MiB (goal: under 15)"
    );
    subject.close().await;
}

/// From nothing to the first answer, and from a reset to it.
async fn starts(place: Place, packages: bool, number: usize) {
    let (mut cold, mut fresh) = (Times::default(), Times::default());
    for _ in 0..number {
        let began = Instant::now();
        let subject = Subject::start(
            place,
            Wish {
                packages,
                ..Wish::default()
            },
        )
        .await;
        let code = if packages {
            "import ibis, pandas, polars\n1"
        } else {
            "1"
        };
        assert_eq!(subject.output(code).await, "1\n");
        cold.add(began.elapsed());
        for _ in 0..5 {
            let began = Instant::now();
            assert!(subject.reset(&[]).await.ok);
            assert_eq!(subject.output(code).await, "1\n");
            fresh.add(began.elapsed());
        }
        subject.close().await;
    }
    let with = if packages { "with" } else { "without" };
    println!("bench: {place:?} cold start {with} packages {cold}");
    println!("bench: {place:?} reset to first answer {with} packages {fresh} (goal: p50 under 100 ms)");
    println!(
        "bench: {place:?} cold over reset {with} packages ratio={:.1}",
        cold.ratio(&fresh)
    );
}

/// 100 MB through the cap, against the same through a pipe.
async fn throughput(place: Place) {
    const MEGABYTES: u32 = 100;
    let subject = Subject::bare(place).await;
    for (what, write) in [
        (
            "in blocks",
            "import os\nblock = b'x' * 999_999 + b'\\n'\nfor _ in range(100): os.write(1, block)",
        ),
        (
            "printed by lines",
            "line = 'x' * 99\nfor _ in range(1_000_000): print(line)",
        ),
    ] {
        let cell = Cell {
            timeout: Duration::from_mins(2),
            ..Cell::new(write)
        };
        let began = Instant::now();
        let executed = subject.cell(cell).await;
        let through = began.elapsed();
        assert!(executed.ok && executed.total >= 99_000_000, "{executed:?}");
        let piped = format!(
            "import subprocess\np = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n\
             import os, sys\nkeep = os.dup(1)\nos.dup2(p.stdin.fileno(), 1)\n\
             out = open(1, 'w', buffering=1, closefd=False)\ndef print(*a): out.write(a[0] + '\\n')\n\
             {write}\nos.dup2(keep, 1); os.close(keep); p.stdin.close(); p.wait(); del print\nNone"
        );
        let began = Instant::now();
        let plain = subject
            .cell(Cell {
                timeout: Duration::from_mins(2),
                ..Cell::new(piped)
            })
            .await;
        assert!(plain.ok, "{plain:?}");
        let bare = began.elapsed();
        println!(
            "bench: {place:?} {MEGABYTES} MB of output {what} {:.0} MB/s ratio to a bare pipe={:.2}",
            f64::from(MEGABYTES) / through.as_secs_f64(),
            through.as_secs_f64() / bare.as_secs_f64()
        );
    }
    subject.close().await;
}
