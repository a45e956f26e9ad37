//! Statements that make a reader of a database: who logs in as that can read, and can't write.

use std::path::Path;

use cataloger_tests::command::Cataloger;
use cataloger_tests::databases::{self, Server};

use crate::{blocks, read};

/// The statements of a page, by the heading that they stand below.
fn statements(page: &str, heading: &str) -> String {
    let page = Path::new(page);
    let lines: Vec<String> = read(page).lines().map(str::to_owned).collect();
    let from = lines
        .iter()
        .position(|line| line == heading)
        .unwrap_or_else(|| panic!("{heading}"));
    let block = blocks(page)
        .into_iter()
        .find(|block| block.language == "sql" && block.line > from);
    block.expect("it has statements").text
}

/// Catalogs as a role that the documentation's statements have made: it must be able to read, and unable to write.
async fn reads_and_cannot_write(server: &Server, database: &str) {
    let (scheme, rest) = server.url().split_once("://").map(owned).expect("a URL");
    let (_, place) = rest.split_once('@').map(owned).expect("with a user");
    let place = place.replace("/shop", &format!("/{database}"));
    let url = format!("{scheme}://cataloger_reader:CHOOSE-A-PASSWORD@{place}");
    let pages = tempfile::tempdir().expect("a directory");
    let output = pages.path().to_str().expect("a path is text");
    let arguments = [
        "run",
        "--model",
        "builtin",
        "--table",
        "sales.orders",
        "--output",
        output,
    ];
    let ended = Cataloger::new(arguments)
        .await
        .env("DATABASE_URL", &url)
        .run()
        .await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[tokio::test]
async fn statements_make_readers_that_pass() {
    let before = "CREATE ROLE owner; CREATE SCHEMA sales AUTHORIZATION owner;
        CREATE TABLE sales.orders (id integer PRIMARY KEY); INSERT INTO sales.orders VALUES (1);";
    let statements_of = |heading| statements("docs/databases.md", heading);
    let server = databases::postgres(&(before.to_owned() + &statements_of("## PostgreSQL")));
    reads_and_cannot_write(&server, "shop").await;
    let before = "CREATE DATABASE sales; CREATE TABLE sales.orders (id integer PRIMARY KEY);
        INSERT INTO sales.orders VALUES (1);";
    let server = databases::mariadb(&(before.to_owned() + &statements_of("## MySQL, MariaDB")));
    reads_and_cannot_write(&server, "sales").await;
}
