//! Databases of a test's own on the servers of the tests' cluster, which its Pods reach by their Services.
//!
//! For the tests' own cluster: this machine reaches its Services. Must not know what is in a database.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::databases::{PASSWORD, encoded_password, postgres_programs};
use crate::script::repository;

/// The servers' Services, and their addresses.
const POSTGRES: (&str, &str, u16) = ("postgres.cataloger-tests.svc", "198.19.0.32", 5432);
const MARIADB: (&str, &str, u16) = ("mariadb.cataloger-tests.svc", "198.19.0.33", 3306);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Postgres,
    MariaDb,
}

impl Kind {
    /// Has the server do something, as whoever may do everything; in a database, if there is one.
    fn run(self, database: Option<&str>, sql: &str) {
        let mut command = match self {
            Self::Postgres => {
                let (_, address, port) = POSTGRES;
                let mut command = Command::new(postgres_programs().join("psql"));
                command
                    .env("PGPASSWORD", PASSWORD)
                    .args(["-qX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", address])
                    .args(["-p", &port.to_string(), "-d", database.unwrap_or("postgres")])
                    .args(["-f", "-"]);
                command
            }
            Self::MariaDb => {
                let (_, address, port) = MARIADB;
                let mut command = Command::new("mariadb");
                command
                    .env("MYSQL_PWD", PASSWORD)
                    .args([
                        "--no-defaults",
                        "--protocol=tcp",
                        "--default-character-set=utf8mb4",
                    ])
                    .args(["--user=root", "--host", address, "--port", &port.to_string()])
                    .args(database);
                command
            }
        };
        // It may be longer than arguments can be.
        let mut running = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut input = running.stdin.take().expect("it is piped");
        // Whoever does not read to its end says why.
        let _ = input.write_all(sql.as_bytes());
        drop(input);
        let output = running.wait_with_output().expect("it can be waited for");
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A database that is gone when it is dropped.
#[derive(Debug)]
pub struct Served {
    kind: Kind,
    name: String,
}

impl Served {
    /// A database of PostgreSQL.
    pub fn postgres(sql: &str) -> Self {
        Self::new(Kind::Postgres, sql)
    }

    /// A database of `MariaDB`.
    pub fn mariadb(sql: &str) -> Self {
        Self::new(Kind::MariaDb, sql)
    }

    fn new(kind: Kind, sql: &str) -> Self {
        let name = format!("shop_{:016x}", rand::random::<u64>());
        kind.run(None, &format!("CREATE DATABASE {name}"));
        let served = Self { kind, name };
        kind.run(Some(&served.name), sql);
        served
    }

    /// The sample shop in PostgreSQL.
    pub fn postgres_shop() -> Self {
        Self::postgres(&shop("postgresql"))
    }

    /// The sample shop in `MariaDB`.
    pub fn mariadb_shop() -> Self {
        Self::mariadb(&shop("mysql"))
    }

    /// Runs statements in it, as whoever may do everything.
    pub fn execute(&self, sql: &str) {
        self.kind.run(Some(&self.name), sql);
    }

    /// The URL for a role of its own that can only read what is there now.
    pub fn reader(&self) -> String {
        let reader = format!("reader_{}", self.name.trim_start_matches("shop_"));
        let grants = match self.kind {
            Kind::Postgres => format!(
                "CREATE ROLE {reader} LOGIN PASSWORD '{PASSWORD}'; \
                 GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader};"
            ),
            Kind::MariaDb => format!(
                "CREATE USER {reader} IDENTIFIED BY '{PASSWORD}'; GRANT SELECT, SHOW VIEW ON {}.* TO {reader};",
                self.name
            ),
        };
        self.execute(&grants);
        self.url_of(&reader)
    }

    /// The URL for that role, once it is there.
    pub fn reader_again(&self) -> String {
        self.url_of(&format!("reader_{}", self.name.trim_start_matches("shop_")))
    }

    /// The same URL with the Service's address: this machine can't look up names of the cluster.
    pub fn reader_from_here(&self) -> String {
        self.reader_again().replace(&self.place().0, self.address())
    }

    /// The Service's address.
    pub fn address(&self) -> &'static str {
        match self.kind {
            Kind::Postgres => POSTGRES.1,
            Kind::MariaDb => MARIADB.1,
        }
    }

    /// Where it is: the Service's host and port.
    pub fn place(&self) -> (String, u16) {
        let (host, _, port) = match self.kind {
            Kind::Postgres => POSTGRES,
            Kind::MariaDb => MARIADB,
        };
        (host.to_owned(), port)
    }

    /// Its URL, for whoever may do everything.
    pub fn url(&self) -> String {
        self.url_of(match self.kind {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "root",
        })
    }

    fn url_of(&self, user: &str) -> String {
        let scheme = match self.kind {
            Kind::Postgres => "postgresql",
            Kind::MariaDb => "mysql",
        };
        let (host, port) = self.place();
        let password = encoded_password();
        format!("{scheme}://{user}:{password}@{host}:{port}/{}", self.name)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let reader = format!("reader_{}", self.name.trim_start_matches("shop_"));
        let end = match self.kind {
            Kind::Postgres => format!(
                "DROP DATABASE {} WITH (FORCE);\nDROP ROLE IF EXISTS {reader};",
                self.name
            ),
            Kind::MariaDb => format!("DROP DATABASE {}; DROP USER IF EXISTS {reader};", self.name),
        };
        self.kind.run(None, &end);
    }
}

/// The sample shop, as a kind of database takes it.
fn shop(kind: &str) -> String {
    let output = Command::new(repository().join("tests/shop-sql"))
        .arg(kind)
        .stdin(Stdio::null())
        .output()
        .expect("it can be run");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("SQL is text")
}
