//! Scripts of this repository, that tests need the results of, with the programs that `tests/prepare` builds.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// The top of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are one below the top")
}

/// Where scripts of this repository keep what they build.
pub fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("CATALOGER_CACHE").unwrap_or_else(|| {
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/cache/cataloger");
        }
        variable("XDG_CACHE_HOME")
            .or_else(|| Some(variable("HOME")?.join(".cache")))
            .expect("HOME is set")
            .join("cataloger")
    })
}

/// A program that `tests/prepare` builds.
pub fn tool(name: &str) -> PathBuf {
    let program = cache().join("tools").join(name);
    assert!(
        program.exists(),
        "{} is missing: tests/prepare installs it",
        program.display()
    );
    program
}

/// Runs a script of this repository.
pub async fn run(script: &str, arguments: &[&str]) {
    let status = Command::new(repository().join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .await
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    assert!(status.success(), "{script} {arguments:?} failed");
}

/// Runs a script of this repository; the last line that it prints.
pub async fn last_line(script: &str, arguments: &[&str]) -> String {
    let text = output(script, arguments).await;
    text.lines().last().expect("it prints a line").to_owned()
}

/// Runs a script of this repository; all that it prints.
pub async fn output(script: &str, arguments: &[&str]) -> String {
    let output = Command::new(repository().join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    assert!(output.status.success(), "{script} {arguments:?} failed");
    String::from_utf8(output.stdout).expect("it prints text")
}
