//! Each database that a session can open, with the real image: opened, read, and not written to.

use std::time::Duration;

use cataloger::sandbox::Cell;
use cataloger_tests::cluster::cluster;
use cataloger_tests::databases::{PASSWORD, postgres};
use cataloger_tests::place::{Place, Subject, Wish};
use cataloger_tests::served::Served;
use cataloger_tests::volume::Claim;

const TABLES: &str =
    "CREATE TABLE shops (id integer PRIMARY KEY, name varchar(40), opened date, share numeric(6, 3));
    INSERT INTO shops VALUES (1, 'Nörd', '2024-02-29', 1.5), (2, NULL, '1999-12-31', 2.25);";

/// What every kind of database must answer, over ibis to each of the packages that hold tables.
const READS: &str = "
import ibis, pandas, polars, pyarrow
db = connect_database()
t = db.table('shops')
assert db.list_tables() == ['shops'], db.list_tables()
assert t.count().execute() == 2
frame = t.order_by('id').execute()
assert isinstance(frame, pandas.DataFrame) and frame['name'][0] == 'Nörd', frame
assert t.to_pyarrow().num_rows == 2 and isinstance(t.to_pyarrow(), pyarrow.Table)
assert t.select('id', 'name').to_polars().shape == (2, 2)
assert float(t.share.sum().execute()) == 3.75
assert db.sql('SELECT id, name FROM shops WHERE id = 1').execute()['name'][0] == 'Nörd'
t.order_by('id')
";

async fn reads(place: Place, url: String, writes: &str, wish: Wish) {
    let env = vec![("DATABASE_URL".into(), url)];
    let wish = Wish {
        packages: true,
        env,
        ..wish
    };
    let subject = Subject::start(place, wish).await;
    let cell = |code: &str| Cell {
        timeout: Duration::from_mins(2),
        ..Cell::new(code)
    };
    let read = subject.cell(cell(READS)).await;
    assert!(read.ok, "{place:?}: {}", read.output);
    assert!(
        read.output.contains("Nörd") && read.output.contains("[2 rows]"),
        "{}",
        read.output
    );
    let written = subject.cell(cell(writes)).await;
    assert!(!written.ok, "{place:?}: it must not write: {written:?}");
    let says = written.output.to_lowercase();
    assert!(
        says.contains("read-only") || says.contains("readonly") || says.contains("read only"),
        "{says}"
    );
    assert!(
        subject
            .output("db.table('shops').count().execute()")
            .await
            .contains('2')
    );
    let wrong = subject
        .cell(cell("import os\nfrom urllib.parse import urlsplit\nu = os.environ['DATABASE_URL']\n\
                    connect_database(u.replace(':' + str(urlsplit(u).port), ':1') if '@' in u else u + '.missing')"))
        .await;
    assert!(!wrong.ok && !wrong.output.contains(PASSWORD), "{}", wrong.output);
    assert!(!wrong.output.contains("s3cr%25t"), "{}", wrong.output);
    subject.close().await;
}

const INSERT: &str = "db.raw_sql(\"INSERT INTO shops VALUES (3, 'x', NULL, 1)\")";

/// In a Pod that may reach the server and nothing else.
async fn reads_in_a_pod(served: &Served) {
    let wish = Wish {
        reach: Some(served.place()),
        ..Wish::default()
    };
    reads(Place::Pod, served.url(), INSERT, wish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_read() {
    // Who may even write: being read-only is the session's.
    let server = postgres(TABLES);
    reads(Place::Local, server.url_of_writer(), INSERT, Wish::default()).await;
    if cluster().await.own {
        reads_in_a_pod(&Served::postgres(TABLES)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_read() {
    // MySQL's driver has no ready-made package: a local environment may lack it, the image never.
    if cluster().await.own {
        reads_in_a_pod(&Served::mariadb(TABLES)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("it is ours");
    let cluster = cluster().await;
    let mut claim = None;
    if cluster.own {
        claim = Some(Claim::new(&cluster, directory.path()).await);
    }
    for kind in ["sqlite", "duckdb"] {
        let name = format!("shop.{kind}");
        let file = directory.path().join(&name);
        let maker = Subject::full(Place::Local).await;
        let made = maker
            .output(&format!(
                "import duckdb, sqlite3\nfrom base64 import b64encode\n\
                 c = {kind}3.connect('x')\nfor s in '''{TABLES}'''.split(';')[:-1]: c.execute(s)\nc.commit(); c.close()\n\
                 b64encode(open('x', 'rb').read()).decode()[:0]"
            ).replace("duckdb3", "duckdb"))
            .await;
        assert_eq!(made, "''\n");
        let bytes = maker.file("x");
        maker.close().await;
        std::fs::write(&file, bytes).expect("it can be written");
        let write = "db.con.execute(\"INSERT INTO shops VALUES (3, 'x', NULL, 1)\")";
        let url = format!("{kind}:///{}", file.display());
        reads(Place::Local, url, write, Wish::default()).await;
        if claim.is_some() {
            let data = claim.clone();
            let wish = Wish {
                data,
                ..Wish::default()
            };
            reads(Place::Pod, format!("{kind}:////data/{name}"), write, wish).await;
        }
    }
    if let Some(claim) = claim {
        claim.remove().await;
    }
}
