//! A headless Chromium, driven over its `DevTools` protocol.
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
pub struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    last: u64,
    _profile: TempDir,
}

/// Where there is one.
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

impl Browser {
    /// Starts it.
    pub fn start(program: &Path) -> Self {
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

    /// Opens a tab.
    pub async fn tab(&mut self) -> Tab<'_> {
        let tab = self
            .ask(None, "Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let target = tab["targetId"].as_str().expect("it has an id").to_owned();
        let attached = self
            .ask(
                None,
                "Target.attachToTarget",
                json!({"targetId": target, "flatten": true}),
            )
            .await;
        let session = attached["sessionId"].as_str().expect("it has an id").to_owned();
        Tab {
            browser: self,
            target,
            session,
        }
    }

    /// How long a file takes, in a new tab, until something of it is seen.
    pub async fn first_paint(&mut self, file: &Path) -> Duration {
        let mut tab = self.tab().await;
        tab.navigate(&format!("file://{}", file.display())).await;
        let painted = tab.evaluate(PAINTED).await.expect("it stays");
        tab.close().await;
        Duration::from_secs_f64(painted.as_f64().expect("it was painted") / 1000.0)
    }

    /// Ends it.
    pub async fn close(mut self) {
        self.ask(None, "Browser.close", json!({})).await;
        let ended = timeout(PATIENCE, self.process.wait()).await;
        ended.expect("it ends").expect("it can be waited for");
    }

    async fn ask(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self.try_to(session, method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_to(&mut self, session: Option<&str>, method: &str, params: Value) -> Result<Value, String> {
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
                if !answer["error"].is_null() {
                    return Err(answer["error"].to_string());
                }
                return Ok(answer["result"].take());
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

/// A tab of a browser.
#[derive(Debug)]
pub struct Tab<'a> {
    browser: &'a mut Browser,
    target: String,
    session: String,
}

impl Tab<'_> {
    /// Goes to a page. Answered when it has begun to come, so that what is evaluated next sees this one.
    pub async fn navigate(&mut self, url: &str) {
        let session = Some(self.session.as_str());
        // The page before may have opened another, and what is not in front is not drawn.
        self.browser.ask(session, "Page.bringToFront", json!({})).await;
        self.browser
            .ask(session, "Page.navigate", json!({"url": url}))
            .await;
    }

    /// What an expression is, once it is known; an error if the page is left before.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let session = Some(self.session.as_str());
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let mut answer = self.browser.try_to(session, "Runtime.evaluate", params).await?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].take()),
            raised => Err(raised.to_string()),
        }
    }

    /// Closes it.
    pub async fn close(self) {
        self.browser
            .ask(None, "Target.closeTarget", json!({"targetId": self.target}))
            .await;
    }
}
