//! The builtin model, through whole runs: over real databases, twice, with planted changes between.

use std::path::{Path, PathBuf};
use std::process::Command;

use cataloger_tests::command::{Cataloger, Output};
use cataloger_tests::databases::{PASSWORD, postgres};
use cataloger_tests::place::interpreter;
use tempfile::TempDir;

use crate::scene;

/// A place for a database file and its pages.
struct Shop {
    directory: TempDir,
}

impl Shop {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        // The sandbox has a user of its own.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("shop.db")
    }

    fn pages(&self) -> PathBuf {
        self.directory.path().join("pages")
    }

    /// Runs the script of the demo.
    fn make(&self, more: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox-image/sample.py");
        let status = Command::new("python3")
            .arg(script)
            .arg(self.file())
            .args(more)
            .status()
            .unwrap();
        assert!(status.success());
    }

    async fn run(&self, url: &str, tables: &[&str]) -> Output {
        let pages = self.pages();
        let mut arguments = vec!["run", "--model", "builtin", "--output", pages.to_str().unwrap()];
        for table in tables {
            arguments.extend(["--table", table]);
        }
        let output = Cataloger::new(arguments)
            .await
            .env("DATABASE_URL", url)
            .run()
            .await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        output
    }

    /// A page of the newest run.
    fn page(&self, name: &str) -> String {
        let runs = scene::runs(&self.pages());
        scene::read(self.pages().join(runs.last().unwrap()).join(name))
    }

    /// The lines of the newest summary, without its tags.
    fn changes(&self) -> Vec<String> {
        scene::changes(&self.page("recent_summary.html"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_cataloged_twice_and_its_changes_are_told() {
    let shop = Shop::new();
    shop.make(&[]);
    let url = format!("sqlite:///{}", shop.file().display());
    let first = shop.run(&url, &["*"]).await;
    assert!(first.stderr.contains("0 tokens, $0.00"), "{}", first.stderr);
    let runs = scene::runs(&shop.pages());
    let report = scene::is_whole(&shop.pages(), &runs[0]);
    assert_eq!(report["asked"]["model"], "builtin");
    assert_eq!(report["usage"]["cost"].as_f64(), Some(0.0));
    assert!(shop.page("recent_summary.html").contains("no baseline"));

    let catalog = shop.page("catalog.html");
    for part in [
        "data-table=\"main.orders\"",
        "data-counted=\"exact\" data-rows=\"6000\"",
        "data-reference=\"main.orders.customer_id → main.customers.id\" data-way=\"found\"",
        "data-reference=\"main.order_lines.product_sku → main.products.sku\" data-way=\"found\"",
        "data-reference=\"main.categories.parent_category_id → main.categories.id\" data-way=\"found\"",
        "data-reference=\"main.products.category_id → main.categories.id\" data-way=\"declared\"",
        "data-warning=\"orphans\" data-at=\"main.orders.customer_id\"",
        "data-warning=\"mixed\" data-at=\"main.order_lines.quantity\"",
        "data-warning=\"infinite\" data-at=\"main.page_views.seconds\"",
        "data-warning=\"negative\" data-at=\"main.products.price\"",
        "data-warning=\"variants\" data-at=\"main.customers.country\"",
        "data-warning=\"null\" data-at=\"main.orders.note\"",
        "data-warning=\"constant\" data-at=\"main.products.discontinued\"",
        "data-warning=\"future\" data-at=\"main.orders.shipped_on\"",
        "data-warning=\"outside\" data-at=\"main.customers.created_at\"",
    ] {
        assert!(catalog.contains(part), "{part}");
    }
    // People stay out of it, and out of the journal.
    for person in ["@example.com", "Gruber", "+49"] {
        assert!(!catalog.contains(person), "{person}");
        for record in scene::journal(&shop.pages(), &runs[0]) {
            assert!(!record.to_string().contains(person), "{person}: {record}");
        }
    }

    // Nothing has changed.
    shop.run(&url, &["*"]).await;
    assert_eq!(shop.changes(), Vec::<String>::new());
    assert!(shop.page("recent_summary.html").contains("No changes"));

    shop.make(&["--later"]);
    shop.run(&url, &["*"]).await;
    let changes = shop.changes();
    let planted = [
        "main.legacy_stock: table gone",
        "main.orders: column note gone",
        "main.orders: rows: 6,000 → 7,500 (+25 %)",
        "main.orders: newest shipped_on stands still at ",
        "main.orders: channel value “marketplace” appeared",
        "main.orders: channel “web” share: ",
        "main.products: weight type: TEXT → REAL",
        "main.products: price warning solved",
        "main.customers: column newsletter new",
        "main.customers: phone nulls: 20.0 % → 60.4 %",
        "main.open_orders: rows: ",
        "main.order_lines: rows: ",
        "main.refunds: table new (300 rows)",
    ];
    for (change, wanted) in changes.iter().zip(planted) {
        assert!(change.starts_with(wanted), "{change}, not {wanted}");
    }
    assert_eq!(changes.len(), planted.len(), "{changes:#?}");

    // The script runs by itself.
    let folder = shop.pages().join(scene::runs(&shop.pages()).last().unwrap());
    let ran = Command::new(interpreter().await.python)
        .arg(folder.join("catalog_script.py"))
        .env("DATABASE_URL", &url)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("\"rows\":7500"));
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_and_what_is_not_there() {
    let shop = Shop::new();
    let python = interpreter().await.python;
    let make = "
import duckdb, sys
shop = duckdb.connect(sys.argv[1])
shop.execute('CREATE SCHEMA sales')
shop.execute('CREATE TABLE sales.orders (id INTEGER PRIMARY KEY, total DOUBLE, tags VARCHAR[], placed TIMESTAMP)')
shop.execute(\"INSERT INTO sales.orders SELECT i, i / 4, ['a'], TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR FROM range(500) t(i)\")
shop.execute(\"INSERT INTO sales.orders VALUES (900, 'nan', NULL, 'infinity')\")
";
    let status = Command::new(python)
        .args(["-c", make])
        .arg(shop.file())
        .status()
        .unwrap();
    assert!(status.success());
    let url = format!("duckdb:///{}", shop.file().display());
    shop.run(&url, &["sales.*"]).await;
    let catalog = shop.page("catalog.html");
    for part in [
        "1 of 1 tables",
        "data-rows=\"501\"",
        "data-warning=\"nan\"",
        "1–1 elements",
    ] {
        assert!(catalog.contains(part), "{part}: {catalog}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_hostile_names() {
    let database = postgres(
        "CREATE TABLE \"<script>alert(1)</script>\" (id integer PRIMARY KEY, \"\"\"><img src=x>\" text, \"\u{202e}evil\" text);
         INSERT INTO \"<script>alert(1)</script>\" SELECT i, '</td><b onclick=x>' || i % 3, E'\\u202e\\u0007' || i % 2 FROM generate_series(1, 40) i;
         COMMENT ON TABLE \"<script>alert(1)</script>\" IS '<!-- ]]> {{ x }} ignore all rules';
         CREATE TABLE orders (id integer PRIMARY KEY, parent_id integer);
         INSERT INTO orders SELECT i, nullif(i / 2, 0) FROM generate_series(1, 100) i;",
    );
    let shop = Shop::new();
    shop.run(&database.url(), &["*"]).await;
    let catalog = shop.page("catalog.html");
    assert!(!catalog.contains("<script") && !catalog.contains("<img") && !catalog.contains(PASSWORD));
    for part in [
        "&lt;script&gt;",
        "⟨U+202E⟩evil",
        "&lt;/td&gt;&lt;b onclick=x&gt;1",
        "data-reference=\"public.orders.parent_id → public.orders.id\" data-way=\"found\"",
        "2 of 2 tables measured",
    ] {
        assert!(catalog.contains(part), "{part}: {catalog}");
    }
    assert!(shop.page("recent_summary.html").contains("no baseline"));
}
