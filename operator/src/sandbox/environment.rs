//! The Python of local sandboxes: found, or made from what this binary holds.
//!
//! For users who have nothing but the binary and some Python. `sandbox-image/environment` makes the same in
//! the same place, for who works on this project. Must not know what the Python will run.
//!
//! | variable | says |
//! | --- | --- |
//! | `CATALOGER_PYTHON` | a Python that has the data packages: it is used as it is |
//! | `CATALOGER_PYTHON_BASE` | the Python to make an environment from |
//! | `CATALOGER_CACHE` | where environments are kept |

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::SandboxError;
use super::account::Account;
use super::local::Interpreter;

const LOCK: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../sandbox-image/requirements.lock"
));
const LOCK_BUILD: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../sandbox-image/requirements-build.lock"
));
const LOCK_MYSQL: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../sandbox-image/requirements-mysql.lock"
));

/// The sandbox's own package: names below its directory, and contents.
const PACKAGE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/package.rs"));

/// Changes when what is installed, and from what, does not tell. The same as in `sandbox-image/environment`.
const RECIPE: u32 = 1;

/// Which Pythons are tried, in this order.
const CANDIDATES: [&str; 6] = [
    "python3.13",
    "python3.12",
    "python3.11",
    "python3",
    "/usr/bin/python3",
    "python3.14",
];

const OLDEST: (u32, u32) = (3, 11);

const PROBE: &str = "import sys; print('%s %d.%d.%d' % ((sys.executable,) + sys.version_info[:3]))";

/// Runs what makes files for other users to read, whatever our own mask.
const READABLE: &str = r#"umask 022; exec "$@""#;

const PROBE_TIME: Duration = Duration::from_secs(30);
const INSTALL_TIME: Duration = Duration::from_mins(15);
/// For another process that makes the same: it may install two times.
const LOCK_TIME: Duration = Duration::from_mins(35);
const UNUSED_TIME: Duration = Duration::from_hours(30 * 24);
const TAIL_BYTES: usize = 2000;

/// Why there is no Python for local sandboxes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// There is none to begin with.
    #[error(
        "found no Python of 3.11 or later that the sandbox can run{0}; install one (on Debian: apt install python3 python3-venv), or name one in CATALOGER_PYTHON_BASE"
    )]
    NoPython(String),
    /// The one that was named can't be used.
    #[error("{variable} names {python}, which can't be used: {reason}")]
    Unusable {
        /// Where it was named.
        variable: &'static str,
        /// Its name.
        python: String,
        /// What is wrong.
        reason: String,
    },
    /// The cache can't be written to.
    #[error("{}: {error}; set CATALOGER_CACHE to a directory that can be written to", path.display())]
    Cache {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Sandboxes can't read the cache.
    #[error(
        "the users that sandboxes run under can't read {}: {reason}; set CATALOGER_CACHE to a directory below which everybody may read",
        path.display()
    )]
    Unreadable {
        /// What they can't read.
        path: PathBuf,
        /// What the try said.
        reason: String,
    },
    /// A step failed.
    #[error("{what} failed: {told}{hint}")]
    Step {
        /// Which one.
        what: &'static str,
        /// The end of what it said.
        told: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// Another process makes the environment, and doesn't get done.
    #[error("another process holds {} since {} min; end it, and try again", .0.display(), LOCK_TIME.as_secs() / 60)]
    Locked(PathBuf),
}

impl From<EnvironmentError> for SandboxError {
    fn from(error: EnvironmentError) -> Self {
        Self::Setup {
            message: error.to_string(),
        }
    }
}

/// Finds the Python for local sandboxes, or makes it, which takes a minute or two. `say` hears of that.
pub async fn find_or_make(say: &(dyn Fn(&str) + Send + Sync)) -> Result<Interpreter, EnvironmentError> {
    let account = Account::unused().map_err(|reason| EnvironmentError::NoPython(format!(" ({reason})")))?;
    let cache = Cache {
        root: cache_directory(),
        account,
    };
    if let Some(python) = variable("CATALOGER_PYTHON") {
        let python = named("CATALOGER_PYTHON", &python, account).await?;
        let package = cache.package(&python, say).await?;
        cache.is_readable(&python.named, &package).await?;
        // As it was named: a virtual environment is known by the path of its python.
        return Ok(Interpreter {
            python: python.named,
            package,
        });
    }
    let base = match variable("CATALOGER_PYTHON_BASE") {
        Some(python) => named("CATALOGER_PYTHON_BASE", &python, account).await?,
        None => found(account).await?,
    };
    let _lock = cache.lock("environments", say).await?;
    let python = cache.environment(&base, say).await?;
    let package = cache.package(&base, say).await?;
    cache.is_readable(&python, &package).await?;
    Ok(Interpreter { python, package })
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn cache_directory() -> PathBuf {
    if let Some(path) = variable("CATALOGER_CACHE") {
        return path.into();
    }
    if Account::available() {
        // Other users must reach it.
        return "/var/cache/cataloger".into();
    }
    let home = || {
        variable("HOME")
            .map_or_else(std::env::temp_dir, PathBuf::from)
            .join(".cache")
    };
    variable("XDG_CACHE_HOME")
        .map_or_else(home, PathBuf::from)
        .join("cataloger")
}

/// A Python that was run.
#[derive(Debug)]
struct Python {
    /// As it was asked for, but absolute.
    named: PathBuf,
    /// As it calls itself.
    executable: String,
    version: String,
}

async fn named(
    variable: &'static str,
    python: &OsStr,
    account: Option<Account>,
) -> Result<Python, EnvironmentError> {
    probe(python, account)
        .await
        .map_err(|reason| EnvironmentError::Unusable {
            variable,
            python: python.to_string_lossy().into_owned(),
            reason,
        })
}

async fn found(account: Option<Account>) -> Result<Python, EnvironmentError> {
    let mut reasons = Vec::new();
    for candidate in CANDIDATES {
        match probe(OsStr::new(candidate), account).await {
            Ok(python) => return Ok(python),
            Err(reason) => reasons.push(format!("{candidate}: {reason}")),
        }
    }
    Err(EnvironmentError::NoPython(format!(" ({})", reasons.join("; "))))
}

/// Runs a Python, also as a sandbox would: it may lie where only we may look.
async fn probe(python: &OsStr, account: Option<Account>) -> Result<Python, String> {
    let said = run_probe(python, None).await?;
    let (executable, version) = said
        .rsplit_once(' ')
        .ok_or("it does not answer as a Python does")?;
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or_default());
    if (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    ) < OLDEST
    {
        return Err(format!(
            "it is Python {version}, and 3.11 is the oldest that will do"
        ));
    }
    if account.is_some() {
        run_probe(OsStr::new(executable), account)
            .await
            .map_err(|reason| {
                format!("the users that sandboxes run under can't run {executable}: {reason}")
            })?;
    }
    let named = if python.as_encoded_bytes().contains(&b'/') {
        std::path::absolute(python).ok()
    } else {
        None
    };
    Ok(Python {
        named: named.unwrap_or_else(|| executable.into()),
        executable: executable.to_owned(),
        version: version.to_owned(),
    })
}

async fn run_probe(python: &OsStr, account: Option<Account>) -> Result<String, String> {
    let mut command = std::process::Command::new(python);
    command.args(["-I", "-c", PROBE]).current_dir("/");
    if let Some(account) = account {
        account.apply(&mut command);
    }
    let output = output(command, PROBE_TIME).await?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !said.is_empty() {
        Ok(said)
    } else {
        Err(tail(&output))
    }
}

/// Runs a command to its end, or ends it when its time is up.
async fn output(command: std::process::Command, within: Duration) -> Result<Output, String> {
    let mut command = Command::from(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().map_err(|error| error.to_string())?;
    let group = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    match timeout(within, child.wait_with_output()).await {
        Ok(output) => output.map_err(|error| error.to_string()),
        Err(_) => {
            // Compilers that pip has started, too.
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            Err(format!("it was not done within {} s", within.as_secs()))
        }
    }
}

/// The end of what a command said.
fn tail(output: &Output) -> String {
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    let said = said.trim();
    let begin = said.len().saturating_sub(TAIL_BYTES);
    let begin = (begin..said.len())
        .find(|at| said.is_char_boundary(*at))
        .unwrap_or(said.len());
    if said.is_empty() {
        output.status.to_string()
    } else {
        said[begin..].to_owned()
    }
}

struct Cache {
    root: PathBuf,
    account: Option<Account>,
}

impl Cache {
    /// Makes a directory of the cache, and keeps other processes from making anything in it.
    async fn lock(&self, name: &str, say: &(dyn Fn(&str) + Send + Sync)) -> Result<File, EnvironmentError> {
        let directory = self.root.join(name);
        make_readable(&directory)?;
        let path = directory.join(".lock");
        let failed = |error| EnvironmentError::Cache {
            path: path.clone(),
            error,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let deadline = Instant::now() + LOCK_TIME;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(EnvironmentError::Locked(path));
                }
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        say("waiting for another process, which makes the Python environment");
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// The Python of the environment with the data packages. Needs the lock.
    async fn environment(
        &self,
        base: &Python,
        say: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<PathBuf, EnvironmentError> {
        let environments = self.root.join("environments");
        let directory = environments.join(key(base));
        let python = directory.join("bin/python");
        let complete = directory.join("complete");
        if !complete.exists() {
            say(&format!(
                "making a Python environment with the data packages from {} ({}): once, a minute or two",
                base.executable, base.version
            ));
            remove(&directory)?;
            self.install(base, &directory, &python, say).await?;
            forget_unused(&environments);
        }
        // Its time tells when it was used last.
        fs::write(&complete, "").map_err(|error| EnvironmentError::Cache {
            path: complete,
            error,
        })?;
        Ok(python)
    }

    async fn install(
        &self,
        base: &Python,
        directory: &Path,
        python: &Path,
        say: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), EnvironmentError> {
        let failed = |error| EnvironmentError::Cache {
            path: directory.to_owned(),
            error,
        };
        let scratch = tempfile::tempdir().map_err(failed)?;
        let locks = [("packages", LOCK), ("build", LOCK_BUILD), ("mysql", LOCK_MYSQL)];
        for (name, lock) in locks {
            fs::write(scratch.path().join(name), lock).map_err(failed)?;
        }
        let hint = "; if ensurepip is missing, install python3-venv (Debian's name), or name another Python in CATALOGER_PYTHON_BASE";
        step(
            "making a virtual environment",
            hint,
            OsStr::new(&base.executable),
            &[&"-m", &"venv", &directory],
        )
        .await?;
        let pip = async |what, lock: &str, how: &[&str]| {
            let lock = scratch.path().join(lock);
            let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![
                &"-m",
                &"pip",
                &"--disable-pip-version-check",
                &"--no-input",
                &"install",
            ];
            arguments.extend([
                &"--quiet" as &dyn AsRef<OsStr>,
                &"--no-deps",
                &"--require-hashes",
                &"-r",
                &lock,
            ]);
            arguments.extend(how.iter().map(|argument| argument as &dyn AsRef<OsStr>));
            let hint = "; pip takes indexes, proxies and certificates from its own configuration and PIP_… variables";
            step(what, hint, python.as_os_str(), &arguments).await
        };
        pip(
            "installing the data packages",
            "packages",
            &["--only-binary", ":all:"],
        )
        .await?;

        // Optional, because it has to be compiled.
        let mysql = async {
            pip(
                "installing what builds mysqlclient",
                "build",
                &["--only-binary", ":all:"],
            )
            .await?;
            pip("building mysqlclient", "mysql", &["--no-build-isolation"]).await
        };
        if let Err(error) = mysql.await {
            let log = directory.join("mysql.log");
            fs::write(&log, error.to_string()).map_err(failed)?;
            say(&format!(
                "MySQL and MariaDB can't be read: mysqlclient could not be built, see {}. It needs a C compiler, pkg-config, Python's headers and libmariadb-dev (Debian's names); remove {} to try again. All other databases can",
                log.display(),
                directory.display()
            ));
        }
        Ok(())
    }

    /// The directory with the sandbox's own package, as this binary holds it.
    async fn package(
        &self,
        python: &Python,
        say: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<PathBuf, EnvironmentError> {
        let _lock = self.lock("packages", say).await?;
        let mut hash = Sha256::new();
        hash.update(format!("{RECIPE} {}\n", python.version));
        for (name, content) in PACKAGE {
            hash.update(format!("{name} {}\n", content.len()));
            hash.update(content);
        }
        let directory = self
            .root
            .join("packages")
            .join(&hex::encode(hash.finalize())[..16]);
        let same = |(name, content): &(&str, &[u8])| {
            fs::read(directory.join(name)).is_ok_and(|found| found == *content)
        };
        if directory.join("complete").exists() && PACKAGE.iter().all(same) {
            return Ok(directory);
        }
        remove(&directory)?;
        for (name, content) in PACKAGE {
            let path = directory.join(name);
            make_readable(path.parent().unwrap_or(&directory))?;
            let written = fs::write(&path, content)
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)));
            written.map_err(|error| EnvironmentError::Cache { path, error })?;
        }
        // The daemon can't write there what Python compiles; without it, each start takes twice as long.
        let arguments: [&dyn AsRef<OsStr>; 6] = [
            &"-m",
            &"compileall",
            &"-q",
            &"--invalidation-mode",
            &"unchecked-hash",
            &directory,
        ];
        step(
            "compiling the sandbox's package",
            "",
            OsStr::new(&python.executable),
            &arguments,
        )
        .await?;
        let complete = directory.join("complete");
        fs::write(&complete, "").map_err(|error| EnvironmentError::Cache {
            path: complete,
            error,
        })?;
        Ok(directory)
    }

    /// Whether a sandbox can read what is in the cache.
    async fn is_readable(&self, python: &Path, package: &Path) -> Result<(), EnvironmentError> {
        let Some(account) = self.account else {
            return Ok(());
        };
        let mut command = std::process::Command::new(python);
        command
            .args(["-I", "-S", "-c", "import sys; open(sys.argv[1])"])
            .arg(package.join("__main__.py"))
            .current_dir("/");
        account.apply(&mut command);
        let reason = match output(command, PROBE_TIME).await {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => tail(&output),
            Err(reason) => reason,
        };
        Err(EnvironmentError::Unreadable {
            path: self.root.clone(),
            reason,
        })
    }
}

/// The name of an environment: the same as `sandbox-image/environment` gives it.
fn key(base: &Python) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{RECIPE} {} {}\n", base.executable, base.version));
    for lock in [LOCK, LOCK_BUILD, LOCK_MYSQL] {
        hash.update(lock);
    }
    hex::encode(hash.finalize())[..16].to_owned()
}

async fn step(
    what: &'static str,
    hint: &'static str,
    python: &OsStr,
    arguments: &[&dyn AsRef<OsStr>],
) -> Result<(), EnvironmentError> {
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", READABLE, "sh"])
        .arg(python)
        .arg("-I")
        .args(arguments.iter().copied().map(AsRef::as_ref));
    let told = match output(command, INSTALL_TIME).await {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => tail(&output),
        Err(told) => told,
    };
    Err(EnvironmentError::Step { what, told, hint })
}

/// Makes a directory, and whatever is missing above it, for everybody to read.
fn make_readable(directory: &Path) -> Result<(), EnvironmentError> {
    let failed = |error| EnvironmentError::Cache {
        path: directory.to_owned(),
        error,
    };
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(directory).map_err(failed)?;
    for path in missing {
        fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<(), EnvironmentError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EnvironmentError::Cache {
            path: directory.to_owned(),
            error,
        }),
        _ => Ok(()),
    }
}

/// Removes environments that nobody has asked for in a month. What fails now succeeds another time.
fn forget_unused(environments: &Path) {
    for entry in fs::read_dir(environments).into_iter().flatten().flatten() {
        let used = fs::metadata(entry.path().join("complete")).and_then(|found| found.modified());
        let since = used
            .ok()
            .and_then(|used| SystemTime::now().duration_since(used).ok());
        if since.is_some_and(|since| since > UNUSED_TIME) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_whole() {
        let names: Vec<_> = PACKAGE.iter().map(|(name, _)| *name).collect();
        for name in [
            "__main__.py",
            "cataloger_sandbox/__init__.py",
            "cataloger_sandbox/daemon.py",
            "cataloger_sandbox/connect.py",
        ] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        assert!(names.iter().all(|name| !name.contains("__pycache__")));
    }

    #[test]
    fn the_script_names_environments_alike() {
        let script = fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../sandbox-image/environment"
        ))
        .unwrap();
        assert!(script.contains(&format!("recipe={RECIPE} ")), "another recipe");
        for line in [
            r#"locks=("$here/requirements.lock" "$here/requirements-build.lock" "$here/requirements-mysql.lock")"#,
            r#"key=$({ echo "$recipe $python $version"; cat "${locks[@]}"; } | sha256sum | cut -c1-16)"#,
            "environment=$cache/environments/$key",
        ] {
            assert!(script.contains(line), "the script no longer has {line}");
        }
    }

    #[tokio::test]
    async fn what_is_no_python_is_told() {
        let error = named("CATALOGER_PYTHON", OsStr::new("/bin/true"), None)
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("CATALOGER_PYTHON names /bin/true, which can't be used"),
            "{error}"
        );
        let error = probe(OsStr::new("/no/such/python"), None).await.unwrap_err();
        assert!(error.contains("No such file"), "{error}");
    }

    #[tokio::test]
    async fn the_package_is_written_once_and_mended() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache {
            root: directory.path().join("cache"),
            account: None,
        };
        let python = found(None).await.unwrap();
        let package = cache.package(&python, &|_| {}).await.unwrap();
        let main = package.join("__main__.py");
        let written = fs::metadata(&main).unwrap().modified().unwrap();
        assert!(package.join("cataloger_sandbox/__pycache__").is_dir());
        assert_eq!(cache.package(&python, &|_| {}).await.unwrap(), package);
        assert_eq!(fs::metadata(&main).unwrap().modified().unwrap(), written);
        fs::write(&main, "raise SystemExit").unwrap();
        cache.package(&python, &|_| {}).await.unwrap();
        assert_ne!(fs::read(&main).unwrap(), b"raise SystemExit");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended() {
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", "sleep 100"]);
        let error = output(command, Duration::from_millis(50)).await.unwrap_err();
        assert!(error.contains("not done"), "{error}");
    }
}
