//! Real database servers for tests on this machine, each with a directory and a port of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const START: Duration = Duration::from_mins(1);

/// The password of every test user. Odd on purpose: it must survive URLs.
pub const PASSWORD: &str = "s3cr%t/with@odd:parts";

/// The same, for a URL.
pub(crate) fn encoded_password() -> String {
    PASSWORD
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// A server that ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    directory: TempDir,
    port: u16,
    scheme: &'static str,
    stop: i32,
}

impl Server {
    /// Changes the password of a role of PostgreSQL.
    pub fn set_password(&self, role: &str, password: &str) {
        let password = password.replace('\'', "''");
        run(Command::new(postgres_programs().join("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                "postgres",
            ])
            .args(["-p", &self.port.to_string()])
            .args(["-c", &format!("ALTER ROLE {role} PASSWORD '{password}'")]));
    }

    /// How many sessions the user `reader` has.
    pub fn sessions_of_reader(&self) -> usize {
        let mut command = if self.scheme == "mysql" {
            let mut command = Command::new("mariadb");
            command
                .arg("--no-defaults")
                .arg(format!(
                    "--socket={}",
                    self.directory.path().join("socket").display()
                ))
                .args(["--user=root", "--batch", "--skip-column-names", "--execute"])
                .arg("SELECT count(*) FROM information_schema.processlist WHERE user = 'reader'");
            command
        } else {
            let mut command = Command::new(postgres_programs().join("psql"));
            command
                .args([
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "postgres",
                    "-d",
                    "postgres",
                    "-qAt",
                    "-p",
                ])
                .arg(self.port.to_string())
                .arg("-c")
                .arg("SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'");
            command
        };
        let output = command.stdin(Stdio::null()).output().expect("it can be asked");
        let counted = String::from_utf8_lossy(&output.stdout);
        counted.trim().parse().expect("a number")
    }

    /// The URL of database `shop` for the user `reader`, who can only read.
    pub fn url(&self) -> String {
        self.url_of("reader")
    }

    /// The URL of database `shop` for the user `writer`, who may do everything in it.
    pub fn url_of_writer(&self) -> String {
        self.url_of("writer")
    }

    fn url_of(&self, user: &str) -> String {
        let password = encoded_password();
        format!("{}://{user}:{password}@127.0.0.1:{}/shop", self.scheme, self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill")
            .arg(format!("-{}", self.stop))
            .arg(pid)
            .status();
        let _ = self.process.wait();
        let _ = &self.directory;
    }
}

/// A port of the loopback that nobody listens at.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    listener.local_addr().expect("it has an address").port()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command as another user where this is root: servers refuse to run as root.
fn as_user(user: &str, program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", user, "--regid", user, "--init-groups"])
            .arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn directory_for(user: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    if is_root() {
        run(Command::new("chown").arg(user).arg(directory.path()));
    }
    directory
}

pub(crate) fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits for a command to succeed: a server that answers.
fn wait_for(what: &str, process: &mut Child, mut probe: impl FnMut() -> Command) {
    let deadline = Instant::now() + START;
    loop {
        let answered = probe()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if answered.is_ok_and(|status| status.success()) {
            return;
        }
        if let Ok(Some(status)) = process.try_wait() {
            panic!("{what} ended: {status}");
        }
        assert!(Instant::now() < deadline, "{what} does not answer in time");
        std::thread::yield_now();
    }
}

/// The newest PostgreSQL of this machine.
pub(crate) fn postgres_programs() -> PathBuf {
    let mut found: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed (tests/prepare does that)")
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("a PostgreSQL server is installed")
}

/// Makes a database file of `SQLite`, as Python has it, in a directory that the sandbox's own user can enter.
pub fn sqlite(file: &Path, sql: &str) {
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let directory = file.parent().expect("it is in a directory");
    std::fs::set_permissions(directory, open).expect("it is ours");
    let code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])";
    run(Command::new("python3").args(["-c", code]).arg(file).arg(sql));
}

/// PostgreSQL with a database `shop`, a `reader` and a `writer`.
pub fn postgres(sql: &str) -> Server {
    let programs = postgres_programs();
    let directory = directory_for("postgres");
    let data = directory.path().join("data");
    let port = free_port();
    run(as_user("postgres", &programs.join("initdb"))
        .args([
            "--auth",
            "trust",
            "--no-sync",
            "--username",
            "postgres",
            "--pgdata",
        ])
        .arg(&data));
    // Who is not the owner has a password.
    let hosts = "local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n";
    std::fs::write(data.join("pg_hba.conf"), hosts).expect("it can be written");
    let mut process = as_user("postgres", &programs.join("postgres"))
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(directory.path())
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("PostgreSQL can be started");
    let connected = |database: &str| {
        let mut command = Command::new(programs.join("psql"));
        command
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-q",
                "-p",
            ])
            .arg(port.to_string())
            .args(["-d", database]);
        command
    };
    let psql = |database: &str, sql: &str| {
        let mut command = connected(database);
        command.args(["-c", sql]);
        command
    };
    wait_for("PostgreSQL", &mut process, || psql("postgres", "SELECT 1"));
    for user in ["reader", "writer"] {
        run(&mut psql(
            "postgres",
            &format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'"),
        ));
    }
    run(&mut psql("postgres", "CREATE DATABASE shop OWNER writer"));
    // It may be longer than arguments can be.
    let file = directory.path().join("shop.sql");
    std::fs::write(&file, sql).expect("it can be written");
    run(connected("shop").arg("--single-transaction").arg("-f").arg(file));
    run(&mut psql(
        "shop",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO writer",
    ));
    Server {
        process,
        directory,
        port,
        scheme: "postgresql",
        stop: 3, // SIGQUIT: at once
    }
}

/// `MariaDB` with a database `shop`, a `reader` and a `writer`.
pub fn mariadb(sql: &str) -> Server {
    let directory = directory_for("mysql");
    let data = directory.path().join("data");
    let socket = directory.path().join("socket");
    let port = free_port();
    run(Command::new("mariadb-install-db")
        .arg(format!("--datadir={}", data.display()))
        .args([
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--no-defaults",
        ])
        .args(if is_root() { vec!["--user=mysql"] } else { vec![] }));
    let mut process = as_user("mysql", Path::new("/usr/sbin/mariadbd"))
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("MariaDB can be started");
    let client = |database: &str, sql: &str| {
        let mut command = Command::new("mariadb");
        command
            .arg("--no-defaults")
            .arg(format!("--socket={}", socket.display()))
            .args(["--user=root", database, "--execute", sql]);
        command
    };
    wait_for("MariaDB", &mut process, || client("mysql", "SELECT 1"));
    run(&mut client(
        "mysql",
        &format!(
            "CREATE DATABASE shop; CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; \
             CREATE USER writer@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; \
             GRANT SELECT, SHOW VIEW ON shop.* TO reader@'127.0.0.1'; GRANT ALL ON shop.* TO writer@'127.0.0.1'"
        ),
    ));
    run(&mut client("shop", sql));
    Server {
        process,
        directory,
        port,
        scheme: "mysql",
        stop: 15,
    }
}
