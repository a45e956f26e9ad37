//! Catalogs of large databases by the builtin model, with the command that users have: time, memory, pages.
//!
//! What they are compared with: a plain profile of the same columns in SQL, and an almost empty page.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cataloger_tests::browser::{self, Browser};
use cataloger_tests::command::Cataloger;
use cataloger_tests::measure::Times;
use cataloger_tests::place::python;
use cataloger_tests::sha256;
use tokio::process::Command;

use crate::usage::{self, mebibytes};

/// Makes a database.
const DATABASE: &str = include_str!("database.py");
/// Profiles one.
const PROFILE: &str = include_str!("profile.py");
/// How long a run may take, and what else is started here.
const PATIENCE: Duration = Duration::from_hours(1);
/// How often a page is painted.
const PAINTS: usize = 15;
/// What a page can't be faster than.
const EMPTY: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>x</title></head>\
                     <body><p>x</p></body></html>";

/// Tables of a database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// So many.
    pub(crate) tables: u32,
    /// With so many rows each.
    pub(crate) rows: u64,
}

/// A page that came of a run.
struct Page {
    of: String,
    file: PathBuf,
}

/// All of them.
pub(crate) async fn all(sizes: &[Size]) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut pages = Vec::new();
    for size in sizes {
        pages.push(catalog(*size, directory.path()).await);
    }
    paint(&pages, directory.path()).await;
}

/// A run over a database, then the plain profile of it.
async fn catalog(size: Size, directory: &Path) -> Page {
    let Size { tables, rows } = size;
    let of = match tables {
        1 => format!("1 table of {rows} rows"),
        _ => format!("{tables} tables of {rows} rows"),
    };
    let database = database(size).await;
    // Both find the file in memory, whoever comes first.
    let mut file = std::fs::File::open(&database).expect("it is there");
    std::io::copy(&mut file, &mut std::io::sink()).expect("it can be read");
    let pages = directory.join(format!("{tables}-{rows}"));
    let (began, before) = (Instant::now(), usage::worked());
    let running = Cataloger::new(["run", "--table", "*", "--model", "builtin", "--output"])
        .await
        .argument(&pages)
        .env("DATABASE_URL", &format!("sqlite:///{}", database.display()))
        .start();
    let watching = tokio::spawn(usage::watch(running.pid()));
    let output = running.end_within(PATIENCE).await;
    let (took, worked) = (began.elapsed(), usage::worked().saturating_sub(before));
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let peak = watching.await.expect("it ends with the process");
    let (began, before) = (Instant::now(), usage::worked());
    let columns = run(PROFILE, [database.as_os_str()]).await;
    let (plain, plainly) = (began.elapsed(), usage::worked().saturating_sub(before));
    println!(
        "bench: catalog of {of}: {:.1} s, {:.3} s a table; plain SQL profile of its {columns} columns {:.1} s ratio={:.2}",
        took.as_secs_f64(),
        took.as_secs_f64() / f64::from(tables),
        plain.as_secs_f64(),
        took.as_secs_f64() / plain.as_secs_f64(),
    );
    println!(
        "bench: catalog of {of}: on a processor {:.1} s, {:.3} s a table; plain SQL profile {:.1} s ratio={:.2}",
        worked.as_secs_f64(),
        worked.as_secs_f64() / f64::from(tables),
        plainly.as_secs_f64(),
        worked.as_secs_f64() / plainly.as_secs_f64(),
    );
    println!(
        "bench: catalog of {of}: memory at its most, cataloger {:.1} MiB, sandbox {:.1} MiB in all its processes",
        mebibytes(peak.own),
        mebibytes(peak.below),
    );
    let file = output.stdout.lines().find_map(|line| {
        let place = line.strip_prefix("catalog.html\t")?;
        Some(PathBuf::from(place.strip_prefix("file://").unwrap_or(place)))
    });
    Page {
        of,
        file: file.expect("it says where the page is"),
    }
}

/// How soon pages are seen, in turn with one that holds nothing.
async fn paint(pages: &[Page], directory: &Path) {
    let browser = browser::find();
    if browser.is_none() {
        println!("bench: first paint is left out: there is no browser (apt-get install chromium)");
    }
    let empty = directory.join("empty.html");
    std::fs::write(&empty, EMPTY).expect("it can be written");
    for Page { of, file } in pages {
        let bytes = std::fs::metadata(file).expect("it is there").len();
        let Some(program) = &browser else {
            println!("bench: page of {of}: {bytes} bytes");
            continue;
        };
        let mut browser = Browser::start(program);
        let (mut times, mut nothing) = (Times::default(), Times::default());
        for turn in 0..=PAINTS {
            let (page, none) = (browser.first_paint(file).await, browser.first_paint(&empty).await);
            // The first of each finds nothing ready.
            if turn > 0 {
                times.add(page);
                nothing.add(none);
            }
        }
        browser.close().await;
        println!(
            "bench: page of {of}: {bytes} bytes, first contentful paint {times}; of an almost empty page p50={:.1}ms ratio={:.2}",
            nothing.percentile(50).as_secs_f64() * 1000.0,
            times.ratio(&nothing),
        );
    }
}

/// A database of a size, made once.
async fn database(size: Size) -> PathBuf {
    let (tables, rows) = (size.tables.to_string(), size.rows.to_string());
    let key = sha256(format!("{DATABASE}\0{tables}\0{rows}").as_bytes());
    let folder = cache().join("benches");
    std::fs::create_dir_all(&folder).expect("the cache can be written");
    let file = folder.join(format!("{}.db", &key[..16]));
    if !file.exists() {
        eprintln!("bench: making {} once", file.display());
        let part = file.with_extension("part");
        let _ = std::fs::remove_file(&part);
        run(DATABASE, [part.as_os_str(), tables.as_ref(), rows.as_ref()]).await;
        std::fs::rename(&part, &file).expect("it can be renamed");
    }
    file
}

/// Where the scripts keep what they make: root's, where other users reach it.
fn cache() -> PathBuf {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(cache) = given("CATALOGER_CACHE") {
        return cache.into();
    }
    if rustix::process::geteuid().is_root() {
        return "/var/cache/cataloger".into();
    }
    let home = || PathBuf::from(given("HOME").expect("a home")).join(".cache");
    given("XDG_CACHE_HOME")
        .map_or_else(home, PathBuf::from)
        .join("cataloger")
}

/// Runs code by the sandbox's Python; what it prints.
async fn run<'a>(code: &str, arguments: impl IntoIterator<Item = &'a std::ffi::OsStr>) -> String {
    let mut command = Command::new(python().await);
    command.args(["-I", "-c", code]).args(arguments);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.expect("it ends in time").expect("Python starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
