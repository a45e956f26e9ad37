//! Databases of a test's own on the servers of the tests' cluster, which its Pods reach by their Services.
//!
//! For the tests' own cluster: this machine reaches its Services. Must not know what is in a database.

use std::process::Command;

use crate::databases::{PASSWORD, encoded_password, postgres_programs, run};

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
        match self {
            Self::Postgres => {
                let (_, address, port) = POSTGRES;
                run(Command::new(postgres_programs().join("psql"))
                    .env("PGPASSWORD", PASSWORD)
                    .args(["-qX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", address])
                    .args(["-p", &port.to_string(), "-d", database.unwrap_or("postgres")])
                    .args(["-c", sql]));
            }
            Self::MariaDb => {
                let (_, address, port) = MARIADB;
                run(Command::new("mariadb")
                    .env("MYSQL_PWD", PASSWORD)
                    .args([
                        "--no-defaults",
                        "--protocol=tcp",
                        "--default-character-set=utf8mb4",
                    ])
                    .args(["--user=root", "--host", address, "--port", &port.to_string()])
                    .args(["--execute", sql])
                    .args(database));
            }
        }
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
        let (scheme, user) = match self.kind {
            Kind::Postgres => ("postgresql", "postgres"),
            Kind::MariaDb => ("mysql", "root"),
        };
        let (host, port) = self.place();
        let password = encoded_password();
        format!("{scheme}://{user}:{password}@{host}:{port}/{}", self.name)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let force = match self.kind {
            Kind::Postgres => " WITH (FORCE)",
            Kind::MariaDb => "",
        };
        self.kind
            .run(None, &format!("DROP DATABASE {}{force}", self.name));
    }
}
