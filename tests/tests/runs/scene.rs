//! What a run needs around it: a database, a model, a place for pages.

use std::path::{Path, PathBuf};

use cataloger_tests::author::Author;
use cataloger_tests::command::{Cataloger, Output};
use cataloger_tests::databases;
use cataloger_tests::model_server::ModelServer;
use serde_json::Value;
use tempfile::TempDir;

/// The model that most tests ask.
pub(crate) const MODEL: &str = "anthropic/claude-sonnet-5-5";

/// A database file, a played model, and a directory.
pub(crate) struct Scene {
    pub(crate) server: ModelServer,
    pub(crate) directory: TempDir,
}

impl Scene {
    /// With an author who does its task.
    pub(crate) async fn new() -> Self {
        Self::with(Author::default()).await
    }

    /// With this author.
    pub(crate) async fn with(author: Author) -> Self {
        let server = ModelServer::start().await;
        server.think(author.brain());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.db");
        databases::sqlite(&file, SHOP);
        Self { server, directory }
    }

    /// Where the pages go.
    pub(crate) fn pages(&self) -> PathBuf {
        self.directory.path().join("pages")
    }

    /// The URL of the database file.
    pub(crate) fn database(&self) -> String {
        format!("sqlite:///{}", self.directory.path().join("shop.db").display())
    }

    /// A run over the database file into the directory, with more arguments.
    pub(crate) async fn command(&self, more: &[&str]) -> Cataloger {
        let (database, pages) = (self.database(), self.pages());
        let mut arguments = vec!["run", "--table", "orders"];
        if !more.contains(&"--model") {
            arguments.extend(["--model", MODEL]);
        }
        let pages = pages.to_str().unwrap();
        if !more.contains(&"--output") {
            arguments.extend(["--output", pages]);
        }
        arguments.extend(more);
        Cataloger::new(arguments)
            .await
            .models(&self.server)
            .env("DATABASE_URL", &database)
    }

    /// A run into the directory that says by itself what it is over.
    pub(crate) async fn over(&self, more: &[&str]) -> Cataloger {
        let pages = self.pages();
        let mut arguments = vec!["run", "--model", MODEL, "--output", pages.to_str().unwrap()];
        arguments.extend(more);
        Cataloger::new(arguments).await.models(&self.server)
    }

    /// Runs it.
    pub(crate) async fn run(&self, more: &[&str]) -> Output {
        self.command(more).await.run().await
    }
}

const SHOP: &str = "create table orders (id integer primary key, total real); \
                    insert into orders values (1, 2.5), (2, 3), (3, 4);";

/// The runs in a directory of pages, the oldest first.
pub(crate) fn runs(pages: &Path) -> Vec<String> {
    names(pages)
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// What is in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A file as text.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The records of a run's journal in a directory of pages.
pub(crate) fn journal(pages: &Path, run: &str) -> Vec<Value> {
    let folder = pages.join(".journal").join(run);
    names(&folder)
        .iter()
        .map(|name| serde_json::from_str::<Value>(&read(folder.join(name))).unwrap()["record"].clone())
        .collect()
}

/// The objects of a run that came to its end, with the hashes that `run.json` has for them.
pub(crate) fn is_whole(pages: &Path, run: &str) -> Value {
    let folder = pages.join(run);
    assert_eq!(
        names(&folder),
        [
            "catalog.html",
            "catalog_script.py",
            "recent_summary.html",
            "run.json",
            "summary_script.py"
        ]
    );
    let report: Value = serde_json::from_str(&read(folder.join("run.json"))).unwrap();
    for name in [
        "catalog.html",
        "catalog_script.py",
        "recent_summary.html",
        "summary_script.py",
    ] {
        let object = &report["objects"][name];
        let content = read(folder.join(name));
        assert_eq!(object["bytes"], content.len(), "{name}");
        assert_eq!(
            object["sha256"],
            cataloger_tests::sha256(content.as_bytes()),
            "{name}"
        );
    }
    report
}

/// The lines of a summary of the builtin model, each with its table, without tags.
pub(crate) fn changes(page: &str) -> Vec<String> {
    let mut table = String::new();
    let mut out = Vec::new();
    for line in page.lines() {
        let text = cataloger::html::text(line, 1000).trim().to_owned();
        if line.starts_with("<h2>") {
            table = text;
        } else if line.starts_with("<li>") {
            out.push(format!("{table}: {text}"));
        }
    }
    out
}
