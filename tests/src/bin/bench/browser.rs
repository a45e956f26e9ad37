//! A headless Chromium, driven over its `DevTools` protocol, that says when a page is first painted.
//!
//! It listens on pipes, so nobody else can reach it. What is evaluated this way runs also where the page's own
//! policy allows no script.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// How it may be called.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Chromium reads commands from the third descriptor and answers on the fourth: here they are standard input and
/// output.
const START: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// Waits for the paint that is the first to show something; milliseconds since the page was asked for.
const PAINTED: &str = "new Promise(done => new PerformanceObserver(list => {
    const paint = list.getEntries().find(entry => entry.name === 'first-contentful-paint');
    if (paint) done(paint.startTime);
}).observe({type: 'paint', buffered: true}))";

/// A browser that runs.
#[derive(Debug)]
pub(crate) struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    last: u64,
    _profile: TempDir,
}

/// Where there is one.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

impl Browser {
    /// Starts it.
    pub(crate) fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let mut process = Command::new("sh")
            .args(["-c", START])
            .arg(program)
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--no-first-run",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--window-size=1280,800",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let to = process.stdin.take().expect("it is piped");
        let from = BufReader::new(process.stdout.take().expect("it is piped"));
        Self {
            process,
            to,
            from,
            last: 0,
            _profile: profile,
        }
    }

    /// How long a file takes, in a new tab, until something of it is seen.
    pub(crate) async fn first_paint(&mut self, file: &Path) -> Duration {
        let tab = self
            .ask(None, "Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let tab = &tab["targetId"];
        let attached = self
            .ask(
                None,
                "Target.attachToTarget",
                json!({"targetId": tab, "flatten": true}),
            )
            .await;
        let session = attached["sessionId"].as_str().map(str::to_owned);
        let session = session.as_deref();
        let url = format!("file://{}", file.display());
        // Answered when the page has begun to come, so that what is evaluated next sees this one.
        self.ask(session, "Page.navigate", json!({"url": url})).await;
        let painted = json!({"expression": PAINTED, "awaitPromise": true});
        let painted = self.ask(session, "Runtime.evaluate", painted).await;
        let milliseconds = painted["result"]["value"].as_f64();
        self.ask(None, "Target.closeTarget", json!({"targetId": tab}))
            .await;
        Duration::from_secs_f64(milliseconds.expect("it was painted") / 1000.0)
    }

    /// Ends it.
    pub(crate) async fn close(mut self) {
        self.ask(None, "Browser.close", json!({})).await;
        let ended = timeout(PATIENCE, self.process.wait()).await;
        ended.expect("it ends").expect("it can be waited for");
    }

    async fn ask(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).await.expect("the browser listens");
        loop {
            let mut answer = self.next().await;
            if answer["id"] == json!(self.last) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
        }
    }

    async fn next(&mut self) -> Value {
        let mut bytes = Vec::new();
        let read = timeout(PATIENCE, self.from.read_until(0, &mut bytes)).await;
        read.expect("the browser answers in time")
            .expect("the browser answers");
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).expect("it speaks JSON")
    }
}
