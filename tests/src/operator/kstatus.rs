//! What Flux's own library makes of an object's status: `tests/kstatus` asks it. Argo CD and `kubectl wait` read the
//! same conditions.

use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::script::last_line;

/// What it says of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// `InProgress`, `Failed`, `Current`, `Terminating` or `Unknown`.
    pub status: String,
    /// Why.
    pub message: String,
}

/// What it says of each of these.
pub async fn kstatus<K: Serialize>(objects: &[K]) -> Vec<Verdict> {
    let mut child = Command::new(last_line("tests/kstatus/build", &[]).await)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = String::new();
    for object in objects {
        lines += &serde_json::to_string(object).expect("JSON");
        lines.push('\n');
    }
    let mut input = child.stdin.take().expect("it is piped");
    let writing = async move {
        input.write_all(lines.as_bytes()).await.expect("it reads");
    };
    let ((), output) = tokio::join!(writing, child.wait_with_output());
    let output = output.expect("it ends");
    assert!(output.status.success(), "it failed");
    let said = String::from_utf8(output.stdout).expect("text");
    said.lines()
        .map(|line| serde_json::from_str(line).expect("a verdict"))
        .collect()
}
