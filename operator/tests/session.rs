//! `cataloger session` as a user runs it, with a Python that has no data packages.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A cache that sandboxes can read.
fn cache() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

fn session(cache: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cataloger"))
        .arg("session")
        .args(arguments)
        .env("CATALOGER_CACHE", cache.path())
        .env("CATALOGER_PYTHON", "/usr/bin/python3")
        .env("DATABASE_URL", "postgresql://reader:hunter2@db/sales")
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn cells_are_run_and_shown() {
    let cache = cache();
    let cells = cache.path().join("cells.py");
    fs::write(
        &cells,
        "# %% one\nx = 20\nx + 1\n# %%\nprint(x * 2)\n# %%\nimport os\n'DATABASE_URL' in os.environ\n",
    )
    .unwrap();
    let output = session(&cache, &[cells.to_str().unwrap()], "");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        shown,
        "In [1]: # one\n   ...: x = 20\n   ...: x + 1\n21\n\nIn [2]: print(x * 2)\n40\n\nIn [3]: import os\n   ...: 'DATABASE_URL' in os.environ\nTrue\n\n"
    );
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_failed_cell_is_told_and_the_rest_is_run() {
    let output = session(
        &cache(),
        &[],
        "1 / 0\n# %%\nimport os; os._exit(7)\n# %%\nprint('on')\n",
    );
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("ZeroDivisionError") && shown.contains("[error"),
        "{shown}"
    );
    assert!(shown.contains("[exited, and all variables are gone"), "{shown}");
    assert!(shown.contains("\non\n"), "{shown}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_can_not_be_done_is_told() {
    let output = session(&cache(), &["/no/such/file"], "");
    assert_eq!(output.status.code(), Some(2));
    let output = session(&cache(), &["--help"], "");
    assert_eq!(output.status.code(), Some(0));
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("hunter2"),
        "the help shows the database's URL"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_cataloger"))
        .args(["session", "-"])
        .env("CATALOGER_PYTHON", "/bin/false")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("CATALOGER_PYTHON"));
}
