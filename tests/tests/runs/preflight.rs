//! What is found out about a database before anything is paid for, and what is said where it is not fit.

use cataloger_tests::command::Output;
use cataloger_tests::databases::{PASSWORD, Server, postgres};

use crate::scene::{self, MODEL, Scene};

const TABLES: &str = "CREATE TABLE orders (id integer PRIMARY KEY); INSERT INTO orders VALUES (1), (2), (3); \
                      CREATE TABLE order_lines (id integer); CREATE SCHEMA sales; CREATE TABLE sales.orders (id integer); \
                      CREATE TABLE \"Odd Name\" (id integer); CREATE ROLE nobody LOGIN; \
                      CREATE TABLE secret (id integer); ANALYZE orders";

/// A run over the database, with these tables and more arguments.
async fn run(scene: &Scene, url: &str, tables: &[&str], more: &[&str]) -> Output {
    let mut arguments = vec!["--database-url", url];
    for table in tables {
        arguments.extend(["--table", table]);
    }
    arguments.extend(more);
    scene.over(&arguments).await.run().await
}

fn refused(output: &Output, code: i32, says: &[&str]) {
    assert_eq!(output.code(), Some(code), "{}", output.stderr);
    for part in says {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    assert_eq!(output.stdout, "");
    for secret in [PASSWORD, "s3cr", "panicked", "Traceback"] {
        assert!(!output.stderr.contains(secret), "{}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_write_is_refused_unless_it_is_allowed() {
    let database = postgres(TABLES);
    let scene = Scene::new().await;
    let url = database.url_of_writer();
    let output = run(&scene, &url, &["public.orders", "\"Odd Name\""], &[]).await;
    refused(
        &output,
        4,
        &[
            "cataloger: the role writer can write:\n",
            "\n  change and drop on database shop (writer owns it)\n",
            "(granted to writer)\n",
            "\nMake a role that can only read, by these statements",
            "--allow-writable",
            "\n  CREATE ROLE cataloger_reader LOGIN PASSWORD 'CHOOSE-A-PASSWORD';\n",
            "\n  GRANT SELECT ON public.orders TO cataloger_reader;\n",
            "\n  GRANT SELECT ON public.\"Odd Name\" TO cataloger_reader;\n",
        ],
    );
    assert_eq!(scene.server.requests().len(), 0, "nothing is paid for");

    let output = run(&scene, &url, &["public.orders"], &["--allow-writable"]).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("warning: the role writer can write, which is allowed here"),
        "{}",
        output.stderr
    );
    let pages = scene.pages();
    let report = scene::is_whole(&pages, scene::runs(&pages).last().unwrap());
    assert_eq!(report["database"]["role"], "writer");
    assert!(!report["database"]["writes"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_found_before_the_model_is_asked() {
    let database = postgres(TABLES);
    let scene = Scene::new().await;
    let output = run(&scene, &database.url(), &["public.ord*", "\"Odd Name\""], &[]).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("as reader, shown to write nothing: 3 tables"),
        "{}",
        output.stderr
    );
    let pages = scene.pages();
    let run = &scene::runs(&pages)[0];
    let report = scene::is_whole(&pages, run);
    let names: Vec<&str> = report["database"]["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["public.order_lines", "public.orders", "public.\"Odd Name\""]
    );
    assert_eq!(report["database"]["tables"][1]["rows"], 3);
    assert_eq!(
        report["asked"]["tables"],
        serde_json::json!(["public.ord*", "\"Odd Name\""])
    );
    let journal = scene::journal(&pages, run);
    let surveyed = journal
        .iter()
        .filter(|record| record.get("surveyed").is_some())
        .count();
    assert_eq!(surveyed, 1);
    let task = journal
        .iter()
        .find_map(|record| record["began"]["task"].as_str())
        .unwrap();
    // The tables that there are come first; how they were asked for stands apart.
    let (tables, asked) = task.split_once("They were asked for").unwrap();
    assert!(
        tables.contains("public.order_lines") && !tables.contains("ord*"),
        "{task}"
    );
    assert!(asked.contains("- `public.ord*`"), "{task}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_with_what_is() {
    let database = postgres(TABLES);
    let scene = Scene::new().await;
    let refuses = async |tables: &[&str], code: i32, says: &[&str]| {
        refused(&run(&scene, &database.url(), tables, &[]).await, code, says);
    };
    refuses(
        &["oders"],
        2,
        &["cataloger: there is no table 'oders'\n", "\n  public.orders\n"],
    )
    .await;
    refuses(
        &["facts_*", "publik.*"],
        2,
        &[
            "the pattern 'facts_*' has no match",
            "'publik.*' has no match",
            "\n  public.*\n",
        ],
    )
    .await;
    refuses(
        &["sales.orders"],
        4,
        &[
            "the role has no right to read sales.orders",
            "\n  GRANT USAGE ON SCHEMA sales TO reader;\n  GRANT SELECT ON sales.orders TO reader;\n",
        ],
    )
    .await;
    assert_eq!(scene.server.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_opened_is_told_apart() {
    let database = postgres(TABLES);
    let scene = Scene::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let changed = |from: &str, to: &str| {
        let url = database.url();
        assert!(url.contains(from), "{from}");
        url.replace(from, to)
    };
    let own = own_port(&database);
    let nowhere = format!("sqlite:///{}/shpo.db", scene.directory.path().display());
    for (url, code, says) in [
        (
            changed("127.0.0.1", "nosuchhost.invalid"),
            4,
            "can't be resolved: nosuchhost.invalid",
        ),
        (
            changed(&own, &format!(":{port}/")),
            4,
            "nothing takes connections at 127.0.0.1:",
        ),
        (changed("/shop", "/shpo"), 4, "there is no database 'shpo'"),
        (changed("/shop", "/shop?sslmode=require"), 4, "demands TLS"),
        (changed("/shop", "/shop?no_such=1"), 2, "no_such"),
        (
            changed("reader:", "nobodyelse:"),
            4,
            "refuses the password of nobodyelse",
        ),
        (
            changed("reader:", "reader:wrong"),
            4,
            "refuses the password of reader",
        ),
        (nowhere, 4, "\n  shop.db\n"),
    ] {
        let output = run(&scene, &url, &["orders"], &[]).await;
        refused(&output, code, &[says]);
        assert!(!output.stderr.contains(&url), "{}", output.stderr);
    }
    assert_eq!(scene.server.requests().len(), 0);
}

fn own_port(database: &Server) -> String {
    let url = database.url();
    let port = url
        .rsplit_once(':')
        .and_then(|(_, rest)| rest.split_once('/'))
        .unwrap()
        .0;
    format!(":{port}/")
}

/// A run that goes on has its survey in the journal: the database is only opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_does_not_ask_again() {
    let scene = Scene::new().await;
    let output = scene.run(&["--max-turns", "2"]).await;
    assert_eq!(output.code(), Some(7), "{}", output.stderr);
    let output = scene.run(&["--resume"]).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let pages = scene.pages();
    let run = &scene::runs(&pages)[0];
    let surveyed = scene::journal(&pages, run)
        .iter()
        .filter(|record| record.get("surveyed").is_some())
        .count();
    assert_eq!(surveyed, 1);
    let report = scene::is_whole(&pages, run);
    assert_eq!(report["database"]["engine"], "SQLite");
    assert_eq!(report["database"]["proof"].as_array().unwrap().len(), 3);
    assert_eq!(report["asked"]["model"], MODEL);
}
