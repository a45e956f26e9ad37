//! The builtin model's pages against the truth: databases made from a seed, cataloged by the real command, and every
//! number on the page compared with what is known.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cataloger_tests::command::Cataloger;
use cataloger_tests::databases::{mariadb, postgres};
use cataloger_tests::place::interpreter;
use tempfile::TempDir;

use crate::scene;

/// What a script says of a page on which nothing is wrong but numbers out of samples, outside of their intervals.
const OUTSIDE: i32 = 3;

/// Runs a script of the profiler's own tests, which make the databases and know what is in them. What it prints.
pub(crate) async fn script(name: &str, arguments: &[&str]) -> String {
    said(&ran(name, arguments).await)
}

/// What a script has printed that has found nothing wrong.
fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said.into_owned()
}

async fn ran(name: &str, arguments: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../operator/src/llm/builtin/python/tests");
    Command::new(interpreter().await.python)
        .arg("-B")
        .arg(folder.join(name))
        .args(arguments)
        .output()
        .unwrap()
}

/// A directory that the sandbox, too, can look into.
pub(crate) fn directory() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Catalogs all tables. The page.
async fn catalog(url: &str, pages: &Path) -> PathBuf {
    let arguments = ["run", "--model", "builtin", "--table", "*", "--output"];
    let output = Cataloger::new(arguments.into_iter().chain([pages.to_str().unwrap()]))
        .await
        .env("DATABASE_URL", url)
        .run()
        .await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let runs = scene::runs(pages);
    pages.join(runs.last().unwrap()).join("catalog.html")
}

/// Makes a database, catalogs it, and compares the page with the truth.
async fn is_true(engine: &str, seed: &str, writer: &str, reader: &str) {
    let pages = directory();
    script("world.py", &[engine, writer, seed]).await;
    let page = catalog(reader, pages.path()).await;
    let check = async |page: &Path| ran("check.py", &[engine, writer, seed, page.to_str().unwrap()]).await;
    let mut checked = check(&page).await;
    // One of a thousand numbers out of samples is outside of its interval, but not of two samples.
    if checked.status.code() == Some(OUTSIDE) {
        checked = check(&catalog(reader, pages.path()).await).await;
    }
    print!("{}", said(&checked));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_true_of_a_file() {
    for (engine, seed) in [("sqlite", "1"), ("duckdb", "2")] {
        let directory = directory();
        let url = format!("{engine}:///{}", directory.path().join("world.db").display());
        is_true(engine, seed, &url, &url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_true_of_postgresql() {
    let server = postgres("SELECT 1");
    is_true("postgres", "3", &server.url_of_writer(), &server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_true_of_mariadb() {
    let server = mariadb("SELECT 1");
    is_true("mariadb", "4", &server.url_of_writer(), &server.url()).await;
}
