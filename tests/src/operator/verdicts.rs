//! Programs of other projects that judge objects: they read one as JSON from each line, and answer each with a line.
//!
//! Must not know what is judged, or by whom.

use std::process::Stdio;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::script::last_line;

/// What is said of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// In the words of who says it.
    pub status: String,
    /// Why.
    #[serde(default)]
    pub message: String,
}

/// What a program, that this script builds, says of each of these.
pub(super) async fn asked<K: Serialize, V: DeserializeOwned>(
    build: &str,
    arguments: &[&str],
    objects: &[K],
) -> Vec<V> {
    let mut child = Command::new(last_line(build, &[]).await)
        .args(arguments)
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
        // A program that has failed already says why itself.
        let _ = input.write_all(lines.as_bytes()).await;
    };
    let ((), output) = tokio::join!(writing, child.wait_with_output());
    let output = output.expect("it ends");
    assert!(output.status.success(), "it failed");
    let said = String::from_utf8(output.stdout).expect("text");
    said.lines()
        .map(|line| serde_json::from_str(line).expect("an answer"))
        .collect()
}
