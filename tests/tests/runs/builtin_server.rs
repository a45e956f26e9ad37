//! The builtin model over a server of `MariaDB`: its page against the truth, and the same page when it was cut off.

use std::sync::{Arc, Mutex};

use cataloger::store::{Depth, Store as _, list_all};
use cataloger_tests::command::{Cataloger, Output};
use cataloger_tests::databases::{PASSWORD, Server, mariadb};
use cataloger_tests::proxy::Proxy;
use cataloger_tests::s3;

use crate::resume::Killer;

/// Numbers that are known beforehand: 40 customers, 600 orders, two of which nobody has made.
const SHOP: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, country VARCHAR(2) NOT NULL, email VARCHAR(60),
        settings JSON, vip TINYINT(1) NOT NULL) COMMENT 'Who buys';
    CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, customer_id INTEGER NOT NULL,
        state ENUM('new', 'paid', 'sent') NOT NULL, total DECIMAL(10,2), weight FLOAT, placed_on DATE NOT NULL,
        note VARCHAR(20));
    CREATE TABLE `order lines` (order_id BIGINT UNSIGNED NOT NULL, line INTEGER NOT NULL, flags SET('gift', 'fragile'),
        PRIMARY KEY (order_id, line), FOREIGN KEY (order_id) REFERENCES orders (id));
    CREATE VIEW paid AS SELECT * FROM orders WHERE state <> 'new';
    SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
    INSERT INTO customers WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 40)
        SELECT i, IF(i % 4, 'DE', 'AT'), CONCAT('ann', i, '@example.com'), '{}', i % 2 FROM n;
    INSERT INTO orders WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 600)
        SELECT i, IF(i <= 2, 900 + i, i % 40 + 1), ELT(i % 3 + 1, 'new', 'paid', 'sent'), i / 4, IF(i = 7, -0.1, i),
            IF(i = 5, '0000-00-00', '2026-01-01' + INTERVAL i HOUR), IF(i % 3, NULL, 'x') FROM n;
    INSERT INTO `order lines` SELECT id, 1, IF(id % 2, 'gift', 'gift,fragile') FROM orders;
    ANALYZE TABLE customers, orders, `order lines`;
";

/// A run of all tables into a bucket.
async fn command(database: &Server, bucket: &str, place: &str, more: &[&str]) -> Cataloger {
    let output = format!("s3://pages/{place}");
    let mut arguments = vec!["run", "--model", "builtin", "--table", "*", "--output", &output];
    arguments.extend(more);
    Cataloger::new(arguments)
        .await
        .env("DATABASE_URL", &database.url())
        .bucket(bucket)
}

fn is_good(output: &Output) {
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
}

/// All that the run has published and kept.
struct Kept {
    catalog: String,
    script: String,
    summary: String,
    report: serde_json::Value,
    journal: Vec<String>,
}

impl Kept {
    async fn read(bucket: &s3::Server, place: &str) -> Self {
        let store = bucket.store().await;
        let all = list_all(&store, Some(place.parse().unwrap()), Depth::Everything, 1000)
            .await
            .unwrap();
        let mut kept = Self {
            catalog: String::new(),
            script: String::new(),
            summary: String::new(),
            report: serde_json::Value::Null,
            journal: Vec::new(),
        };
        for listed in &all.objects {
            let object = store.get(&listed.key).await.unwrap().unwrap();
            let text = String::from_utf8(object.content.to_vec()).unwrap();
            match listed.key.name() {
                _ if listed.key.as_str().contains("/.journal/") => kept.journal.push(text),
                "catalog.html" => kept.catalog = text,
                "catalog_script.py" => kept.script = text,
                "recent_summary.html" => kept.summary = text,
                "run.json" => kept.report = serde_json::from_str(&text).unwrap(),
                _ => {}
            }
        }
        kept
    }

    /// The pages and the script, without when they were made.
    fn timeless(&self) -> [String; 3] {
        let run = self.report["run"].as_str().unwrap();
        let day = format!(
            "{}-{}-{} {}:{}:{} UTC",
            &run[..4],
            &run[4..6],
            &run[6..8],
            &run[9..11],
            &run[11..13],
            &run[13..15]
        );
        [&self.catalog, &self.script, &self.summary].map(|text| {
            let machine = day.replace(" UTC", "Z").replace(' ', "T");
            let text = text.replace(run, "RUN").replace(&day, "THEN");
            text.replace(&machine, "THEN")
        })
    }
}

/// The begin of the row of a column, up to what people see.
fn row<'a>(catalog: &'a str, table: &str, column: &str) -> &'a str {
    let at = catalog.find(&format!("data-table=\"{table}\"")).expect(table);
    let from = at
        + catalog[at..]
            .find(&format!("<tr data-column=\"{column}\""))
            .expect(column);
    &catalog[from..from + catalog[from..].find('>').unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_told_as_it_is_also_when_it_was_cut_off() {
    let database = mariadb(SHOP);
    let bucket = s3::Server::start();
    is_good(
        &command(&database, bucket.endpoint(), "whole", &[])
            .await
            .run()
            .await,
    );
    let whole = Kept::read(&bucket, "whole").await;
    is_true(&whole);
    assert_eq!(whole.report["attempts"], 1);

    let killer = Arc::new(Mutex::new(Killer::default()));
    let seen = Arc::clone(&killer);
    let proxy = Proxy::start(bucket.endpoint(), move |answer| seen.lock().unwrap().see(answer)).await;
    let entries = u32::try_from(whole.journal.len()).unwrap();
    // Before anything was looked at, while it looks, when the page is there, and in the summary.
    for after in [3, 6, entries / 2, entries - 10, entries - 3] {
        let place = format!("cut-{after}");
        *killer.lock().unwrap() = Killer {
            after,
            ..Killer::default()
        };
        let running = {
            // The process must be known before it can write.
            let mut killer = killer.lock().unwrap();
            let command = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(command(&database, &proxy.url(), &place, &[]))
            });
            let running = command.start();
            killer.pid = Some(running.pid());
            running
        };
        let output = running.end().await;
        assert_eq!(output.code(), None, "after entry {after}: {}", output.stderr);
        // Whatever it was doing, the server is rid of it.
        while database.sessions_of_reader() > 0 {
            tokio::task::yield_now().await;
        }
        killer.lock().unwrap().after = 0;
        is_good(
            &command(&database, &proxy.url(), &place, &["--resume"])
                .await
                .run()
                .await,
        );
        let resumed = Kept::read(&bucket, &place).await;
        assert_eq!(resumed.report["attempts"], 2, "after entry {after}");
        for (one, other) in resumed.timeless().iter().zip(&whole.timeless()) {
            let apart = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            assert!(one == other, "after entry {after}: {apart:?}");
        }
    }
}

/// What was put into the shop is what the page says of it.
fn is_true(kept: &Kept) {
    let catalog = &kept.catalog;
    for part in [
        "4 of 4 tables measured",
        "data-table=\"shop.customers\"",
        "data-counted=\"exact\" data-rows=\"600\"",
        "data-counted=\"exact\" data-rows=\"400\"",
        "data-counted=\"exact\" data-rows=\"40\"",
        "Who buys",
        "data-reference=\"shop.orders.customer_id → shop.customers.id\" data-way=\"found\"",
        "data-reference=\"shop.order lines.order_id → shop.orders.id\" data-way=\"declared\"",
        "data-warning=\"orphans\" data-at=\"shop.orders.customer_id\"",
        "data-warning=\"zero-date\" data-at=\"shop.orders.placed_on\"",
    ] {
        assert!(catalog.contains(part), "{part}: {catalog}");
    }
    for (table, column, says) in [
        (
            "shop.customers",
            "id",
            "data-unique=\"1\" data-nulls=\"0\" data-of=\"40\" data-distinct=\"40\"",
        ),
        (
            "shop.customers",
            "country",
            "data-top=\"[[&quot;DE&quot;,30],[&quot;AT&quot;,10]]\"",
        ),
        ("shop.customers", "settings", "data-type=\"json\""),
        (
            "shop.customers",
            "vip",
            "data-top=\"[[&quot;0&quot;,20],[&quot;1&quot;,20]]\"",
        ),
        (
            "shop.orders",
            "customer_id",
            "data-nulls=\"0\" data-of=\"600\" data-distinct=\"42\"",
        ),
        (
            "shop.orders",
            "state",
            "[&quot;new&quot;,200],[&quot;paid&quot;,200],[&quot;sent&quot;,200]",
        ),
        (
            "shop.orders",
            "total",
            "data-nulls=\"0\" data-of=\"600\" data-distinct=\"600\"",
        ),
        (
            "shop.orders",
            "note",
            "data-nulls=\"400\" data-of=\"600\" data-distinct=\"1\"",
        ),
        ("shop.order lines", "flags", "data-of=\"600\" data-distinct=\"2\""),
        ("shop.paid", "id", "data-of=\"400\" data-distinct=\"400\""),
    ] {
        let row = row(catalog, table, column);
        assert!(row.contains(says), "{table}.{column}: {row}");
    }
    assert!(
        catalog.contains("0.25 … 150.00") && catalog.contains("-0.1 … 600"),
        "{catalog}"
    );
    assert_eq!(kept.report["database"]["engine"], "MariaDB");
    assert!(kept.report["database"].get("writes").is_none());
    for secret in ["@example.com", PASSWORD] {
        assert!(
            !catalog.contains(secret) && !kept.summary.contains(secret),
            "{secret}"
        );
        assert!(
            !kept.journal.iter().any(|entry| entry.contains(secret)),
            "{secret}"
        );
    }
}
