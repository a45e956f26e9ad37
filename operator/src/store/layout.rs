//! What is called how: every key of every object, here and nowhere else.
//!
//! ```text
//! {prefix}/{run}/catalog.html              the page
//! {prefix}/{run}/recent_summary.html       what has changed
//! {prefix}/{run}/catalog_script.py         the code behind the page
//! {prefix}/{run}/summary_script.py         the code behind the summary
//! {prefix}/{run}/run.json                  how it came about
//! {prefix}/{run}/comments/{user}-{time}.txt
//! {prefix}/.journal/{run}/000001.json      the run's record: apart, since it holds rows
//! ```
//!
//! A run is named by its begin in UTC (`20261121T120000Z`), so that names sort as time does.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Depth, InvalidKey, Key, Listing, Operation, Problem, Store, StoreError, list_all};

/// The folder of journals.
const JOURNAL: &str = ".journal";
/// The folder of comments, within a run's.
const COMMENTS: &str = "comments";
/// The longest prefix, in bytes: with what comes after it, a key stays within its limit.
pub const MAX_PREFIX: usize = 800;
/// The last entry that a journal can have.
pub const MAX_ENTRY: u32 = 999_999;
/// More runs than this under one prefix are not looked through.
const MAX_RUNS: usize = 100_000;
/// How many names [`Layout::next_free`] tries: an hour's worth.
const MAX_TRIES: u32 = 3600;

/// What all keys of a catalog begin with: a clean path without slashes around it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

impl Prefix {
    /// No prefix: keys begin with the run.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Whether there is none.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn join(&self, rest: fmt::Arguments<'_>) -> Key {
        Key::built(if self.0.is_empty() {
            rest.to_string()
        } else {
            format!("{}/{rest}", self.0)
        })
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let wrong = |why: String| InvalidPrefix {
            prefix: text.escape_debug().to_string(),
            why,
        };
        if text.is_empty() {
            return Ok(Self::root());
        }
        Key::new(text).map_err(|InvalidKey { why, .. }| wrong(why.to_owned()))?;
        if text.len() > MAX_PREFIX {
            return Err(wrong(format!("it is longer than {MAX_PREFIX} bytes")));
        }
        for segment in text.split('/') {
            if segment == JOURNAL || segment.parse::<RunId>().is_ok() {
                return Err(wrong(format!(
                    "\"{segment}\" is a name within a catalog's folder"
                )));
            }
            if segment.trim() != segment {
                return Err(wrong("a part begins or ends with a space".into()));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Prefix {
    type Error = InvalidPrefix;

    fn try_from(text: String) -> Result<Self, InvalidPrefix> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A prefix that no catalog can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{prefix}\" can't be a prefix: {why}; use names joined by single slashes, such as databases/shop")]
pub struct InvalidPrefix {
    prefix: String,
    why: String,
}

/// A moment in UTC, to the second, whose text sorts as time does: `20261121T120000Z`. Runs are named so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(i64);

impl RunId {
    /// `99991230T220000Z`: the last moment that the text can hold, and time zones leave alone.
    const LAST: i64 = 253_402_207_200;

    /// By the clock.
    pub fn now() -> Self {
        Self::at(SystemTime::now())
    }

    /// Of a moment; its fraction of a second is dropped.
    pub fn at(time: SystemTime) -> Self {
        let seconds = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(Self::LAST));
        Self(seconds.min(Self::LAST))
    }

    /// The moment.
    pub fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.unsigned_abs())
    }

    /// One second later: the name to take when this one is taken.
    #[must_use]
    pub fn following(self) -> Self {
        Self((self.0 + 1).min(Self::LAST))
    }

    /// For people: `2026-11-21 12:00:00 UTC`.
    pub fn readable(self) -> String {
        let civil = self.civil();
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        )
    }

    fn civil(self) -> DateTime {
        // Never out of range: the constructors see to it.
        TimeZone::UTC.to_datetime(Timestamp::from_second(self.0).unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil();
        write!(
            formatter,
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        )
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        let parse = || {
            let bytes = text.as_bytes();
            let shape = bytes.len() == 16 && bytes[8] == b'T' && bytes[15] == b'Z';
            let digits = |from: usize, to: usize| {
                let part = text.get(from..to)?;
                part.bytes().all(|byte| byte.is_ascii_digit()).then_some(part)
            };
            let small = |from| digits(from, from + 2)?.parse::<i8>().ok();
            let civil = DateTime::new(
                digits(0, 4).filter(|_| shape)?.parse().ok()?,
                small(4)?,
                small(6)?,
                small(9)?,
                small(11)?,
                small(13)?,
                0,
            )
            .ok()?;
            let seconds = TimeZone::UTC.to_timestamp(civil).ok()?.as_second();
            (0..=Self::LAST).contains(&seconds).then_some(Self(seconds))
        };
        parse().ok_or_else(|| InvalidRunId {
            text: text.escape_debug().to_string(),
        })
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(text: String) -> Result<Self, InvalidRunId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

/// A text that is no run's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is no run: runs are named by their begin in UTC, as 20261121T120000Z")]
pub struct InvalidRunId {
    text: String,
}

/// Who comments: 1 to 64 letters, digits, and `. _ @ + -`, which every store, shell and browser takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User(String);

impl User {
    /// Makes one of any name: what a key can't hold becomes `_`.
    pub fn from_name(name: &str) -> Self {
        let mut user: String = name
            .trim()
            .chars()
            .map(|it| if Self::takes(it) { it } else { '_' })
            .take(64)
            .collect();
        if user.is_empty() {
            user.push_str("unknown");
        }
        Self(user)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn takes(it: char) -> bool {
        it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '@' | '+' | '-')
    }

    fn parse(text: &str) -> Option<Self> {
        ((1..=64).contains(&text.len()) && text.chars().all(Self::takes)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a key of a catalog is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// `catalog.html`
    Catalog,
    /// `recent_summary.html`
    Summary,
    /// `catalog_script.py`
    CatalogScript,
    /// `summary_script.py`
    SummaryScript,
    /// `run.json`
    Run,
    /// `comments/{user}-{time}.txt`
    Comment(User, RunId),
    /// An entry of the journal: 1 to [`MAX_ENTRY`].
    Entry(u32),
}

/// An object that a preflight writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// When.
    pub at: RunId,
    /// By whom.
    pub owner: u64,
    /// Which of theirs.
    pub nonce: u64,
}

impl Probe {
    fn read(name: &str) -> Option<Self> {
        let name = name.strip_prefix("probe-")?.strip_suffix(".json")?;
        let [at, owner, nonce] = name.split('-').collect::<Vec<_>>().try_into().ok()?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Self {
            at: at.parse().ok()?,
            owner: number(owner)?,
            nonce: number(nonce)?,
        })
    }
}

const PAGES: [(&str, Part); 5] = [
    ("catalog.html", Part::Catalog),
    ("recent_summary.html", Part::Summary),
    ("catalog_script.py", Part::CatalogScript),
    ("summary_script.py", Part::SummaryScript),
    ("run.json", Part::Run),
];

/// The keys of one catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    prefix: Prefix,
}

impl Layout {
    /// Of the catalog with a prefix.
    pub fn new(prefix: Prefix) -> Self {
        Self { prefix }
    }

    /// What all its keys begin with.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The catalog's own folder; none if it has the whole store.
    pub fn root(&self) -> Option<Key> {
        (!self.prefix.is_root()).then(|| Key::built(self.prefix.0.clone()))
    }

    /// Where the folders of runs are, for people.
    pub fn place(&self, store: &dyn Store) -> String {
        let run = RunId(0);
        let folder = store.uri(&self.run_folder(run));
        let place = folder.strip_suffix(&run.to_string()).unwrap_or(&folder);
        place.trim_end_matches('/').to_owned()
    }

    /// An object of a run by its name; none if no object is called so.
    pub fn object(&self, run: RunId, name: &str) -> Option<Key> {
        let (_, part) = PAGES.iter().find(|(known, _)| *known == name)?;
        self.key(run, part)
    }

    /// The folder of a run's pages.
    pub fn run_folder(&self, run: RunId) -> Key {
        self.prefix.join(format_args!("{run}"))
    }

    /// The folder of a run's comments.
    pub fn comments_folder(&self, run: RunId) -> Key {
        self.prefix.join(format_args!("{run}/{COMMENTS}"))
    }

    /// The folder of all journals.
    pub fn journals_folder(&self) -> Key {
        self.prefix.join(format_args!("{JOURNAL}"))
    }

    /// The folder of a run's journal.
    pub fn journal_folder(&self, run: RunId) -> Key {
        self.prefix.join(format_args!("{JOURNAL}/{run}"))
    }

    /// The key of a part of a run. There is none for an entry of the journal beyond its bounds.
    pub fn key(&self, run: RunId, part: &Part) -> Option<Key> {
        let rest = match part {
            Part::Comment(user, time) => format!("{COMMENTS}/{user}-{time}.txt"),
            Part::Entry(number) => return self.entry(run, *number),
            page => PAGES.iter().find(|(_, it)| it == page)?.0.to_owned(),
        };
        Some(self.prefix.join(format_args!("{run}/{rest}")))
    }

    /// `catalog.html`
    pub fn catalog(&self, run: RunId) -> Key {
        self.prefix.join(format_args!("{run}/catalog.html"))
    }

    /// `recent_summary.html`
    pub fn summary(&self, run: RunId) -> Key {
        self.prefix.join(format_args!("{run}/recent_summary.html"))
    }

    /// `catalog_script.py`
    pub fn catalog_script(&self, run: RunId) -> Key {
        self.prefix.join(format_args!("{run}/catalog_script.py"))
    }

    /// `summary_script.py`
    pub fn summary_script(&self, run: RunId) -> Key {
        self.prefix.join(format_args!("{run}/summary_script.py"))
    }

    /// `run.json`
    pub fn run(&self, run: RunId) -> Key {
        self.prefix.join(format_args!("{run}/run.json"))
    }

    /// `comments/{user}-{time}.txt`
    pub fn comment(&self, run: RunId, user: &User, time: RunId) -> Key {
        self.prefix
            .join(format_args!("{run}/{COMMENTS}/{user}-{time}.txt"))
    }

    /// An entry of the journal: 1 to [`MAX_ENTRY`], none beyond.
    pub fn entry(&self, run: RunId, number: u32) -> Option<Key> {
        (1..=MAX_ENTRY)
            .contains(&number)
            .then(|| self.prefix.join(format_args!("{JOURNAL}/{run}/{number:06}.json")))
    }

    /// What the preflight writes, and removes: in the folder of the journals, where no page is.
    pub fn probe(&self, probe: Probe) -> Key {
        let Probe { at, owner, nonce } = probe;
        self.prefix.join(format_args!(
            "{JOURNAL}/probe-{at}-{owner:016x}-{nonce:016x}.json"
        ))
    }

    /// The probes that are there: of preflights that are under way, or were cut off.
    pub async fn probes(&self, store: &dyn Store) -> Result<Vec<Probe>, StoreError> {
        let page = list_all(store, Some(self.journals_folder()), Depth::Folder, MAX_RUNS).await?;
        let names = page.objects.iter().map(|listed| listed.key.name());
        Ok(names.filter_map(Probe::read).collect())
    }

    /// What a key is; `None` if it is none of this catalog's.
    pub fn parse(&self, key: &Key) -> Option<(RunId, Part)> {
        let rest = if self.prefix.is_root() {
            key.as_str()
        } else {
            key.as_str().strip_prefix(&self.prefix.0)?.strip_prefix('/')?
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match parts[..] {
            [JOURNAL, run, entry] => {
                let digits = entry.strip_suffix(".json")?;
                let six = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
                let number = digits.parse().ok().filter(|number| six && *number > 0)?;
                Some((run.parse().ok()?, Part::Entry(number)))
            }
            [run, COMMENTS, comment] => {
                // The user's name may hold '-', the time does not.
                let (user, time) = comment.strip_suffix(".txt")?.rsplit_once('-')?;
                let part = Part::Comment(User::parse(user)?, time.parse().ok()?);
                Some((run.parse().ok()?, part))
            }
            [run, page] => {
                let part = PAGES.iter().find(|(name, _)| *name == page)?.1.clone();
                Some((run.parse().ok()?, part))
            }
            _ => None,
        }
    }

    /// All runs that have pages, oldest first.
    pub async fn runs(&self, store: &dyn Store) -> Result<Vec<RunId>, StoreError> {
        Self::named(store, self.root()).await
    }

    /// All runs that have a journal, oldest first.
    pub async fn journals(&self, store: &dyn Store) -> Result<Vec<RunId>, StoreError> {
        Self::named(store, Some(self.journals_folder())).await
    }

    /// Those of these runs that have a catalog, in their order; at most so many.
    pub async fn with_catalog(
        &self,
        store: &dyn Store,
        runs: impl IntoIterator<Item = RunId>,
        most: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        let mut found = Vec::new();
        for run in runs {
            if found.len() == most {
                break;
            }
            if store.head(&self.catalog(run)).await?.is_some() {
                found.push(run);
            }
        }
        Ok(found)
    }

    async fn named(store: &dyn Store, folder: Option<Key>) -> Result<Vec<RunId>, StoreError> {
        let page = list_all(store, folder, Depth::Folder, MAX_RUNS).await?;
        // In the order of keys, which is that of time.
        Ok(page
            .folders
            .iter()
            .filter_map(|key| key.name().parse().ok())
            .collect())
    }

    /// Whether something of a run is there: pages, comments or a journal.
    pub async fn is_taken(&self, store: &dyn Store, run: RunId) -> Result<bool, StoreError> {
        let first = |folder| {
            let mut listing = Listing::of(Some(folder), Depth::Everything);
            listing.limit = 1;
            listing
        };
        let (pages, journal) = (first(self.run_folder(run)), first(self.journal_folder(run)));
        let (pages, journal) = tokio::try_join!(store.list(&pages), store.list(&journal))?;
        Ok(!pages.objects.is_empty() || !journal.objects.is_empty())
    }

    /// The first run from a moment on of which nothing is there. It is a guess, and no claim: others may take
    /// it meanwhile. Creating the first entry of its journal claims it; if that exists, ask again from
    /// [`RunId::following`].
    pub async fn next_free(&self, store: &dyn Store, from: RunId) -> Result<RunId, StoreError> {
        let mut run = from;
        for _ in 0..MAX_TRIES {
            if !self.is_taken(store, run).await? {
                return Ok(run);
            }
            run = run.following();
        }
        Err(StoreError::new(
            Operation::List,
            store.uri(&self.run_folder(from)),
            Problem::Blocked {
                message: format!("it and the {MAX_TRIES} names after it are taken"),
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(prefix: &str) -> Layout {
        Layout::new(prefix.parse().unwrap())
    }

    fn at(text: &str) -> RunId {
        text.parse().unwrap()
    }

    #[test]
    fn keys_are_as_promised() {
        let run = at("20261121T120000Z");
        let shop = layout("db/shop");
        let comment = shop.comment(run, &User::from_name("ann-marie@x"), at("20261122T010203Z"));
        for (key, text) in [
            (shop.catalog(run), "db/shop/20261121T120000Z/catalog.html"),
            (shop.summary(run), "db/shop/20261121T120000Z/recent_summary.html"),
            (
                shop.catalog_script(run),
                "db/shop/20261121T120000Z/catalog_script.py",
            ),
            (
                shop.summary_script(run),
                "db/shop/20261121T120000Z/summary_script.py",
            ),
            (shop.run(run), "db/shop/20261121T120000Z/run.json"),
            (
                comment,
                "db/shop/20261121T120000Z/comments/ann-marie@x-20261122T010203Z.txt",
            ),
            (
                shop.entry(run, 7).unwrap(),
                "db/shop/.journal/20261121T120000Z/000007.json",
            ),
            (layout("").run(run), "20261121T120000Z/run.json"),
        ] {
            assert_eq!(key.as_str(), text);
            let layout = if text.starts_with("db") {
                &shop
            } else {
                &layout("")
            };
            let (parsed, part) = layout.parse(&key).unwrap();
            assert_eq!(parsed, run);
            assert_eq!(layout.key(run, &part), Some(key));
        }
        assert_eq!(shop.entry(run, 0), None);
        assert_eq!(shop.entry(run, 1_000_000), None);
        assert!(shop.entry(run, MAX_ENTRY).is_some());
    }

    #[test]
    fn foreign_keys_are_not_parsed() {
        let shop = layout("db/shop");
        for foreign in [
            "db/shop2/20261121T120000Z/run.json",
            "db/shop",
            "db/shop/run.json",
            "db/shop/20261121T120000Z/other.html",
            "db/shop/20261121T120000Z/x/run.json",
            "db/shop/20261121T120000Z/comments/x.txt",
            "db/shop/20261121T120000Z/comments/-20261121T120000Z.txt",
            "db/shop/.journal/20261121T120000Z/7.json",
            "db/shop/.journal/20261121T120000Z/+00007.json",
            "db/shop/.journal/20261121T120000Z/000000.json",
            "db/shop/.journal/20261121T120000/000001.json",
        ] {
            assert_eq!(shop.parse(&Key::new(foreign).unwrap()), None, "{foreign}");
        }
    }

    #[test]
    fn prefixes_are_clean() {
        for good in ["", "a", "databases/shop", "Über/shop v2"] {
            assert!(good.parse::<Prefix>().is_ok(), "{good}");
        }
        let long = format!("{}x", "abcdefgh/".repeat(89));
        for bad in [
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "a/.journal",
            "a/20261121T120000Z/b",
            "a/ b",
            "\n",
            &long,
        ] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
        // The longest keys under the longest prefix are keys.
        let longest = layout(&"abcdefghi/".repeat(80)[..799]);
        let user = User::from_name(&"u".repeat(100));
        let run = at("20261121T120000Z");
        assert!(Key::new(longest.comment(run, &user, run).as_str()).is_ok());
        let probe = Probe {
            at: run,
            owner: u64::MAX,
            nonce: 7,
        };
        let key = longest.probe(probe);
        assert!(Key::new(key.as_str()).is_ok());
        assert_eq!(Probe::read(key.name()), Some(probe));
    }

    #[test]
    fn runs_are_moments() {
        let leap = at("20280229T235959Z");
        assert_eq!(leap.following().to_string(), "20280301T000000Z");
        assert_eq!(leap.readable(), "2028-02-29 23:59:59 UTC");
        assert_eq!(RunId::at(leap.time() + Duration::from_millis(999)), leap);
        assert_eq!(
            RunId::at(UNIX_EPOCH - Duration::from_secs(5)).to_string(),
            "19700101T000000Z"
        );
        let end = RunId::at(UNIX_EPOCH + Duration::from_secs(1 << 60));
        assert_eq!(end.to_string(), "99991230T220000Z");
        assert_eq!(end.following(), end);
        for bad in [
            "",
            "20261121",
            "2026-11-21T12:00:00Z",
            "20261121T120000z",
            "20261121t120000Z",
            "20270229T120000Z",
            "20261121T240000Z",
            "20261121T120060Z",
            "+0261121T120000Z",
            "19691231T235959Z",
            "2026112١T12000Z",
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn users_fit_into_keys() {
        assert_eq!(User::from_name(" Ann O'Neil/../x ").as_str(), "Ann_O_Neil_.._x");
        assert_eq!(User::from_name("").as_str(), "unknown");
        assert_eq!(User::from_name("день").as_str(), "____");
    }

    proptest! {
        #[test]
        fn names_sort_as_time_does(a in 0..RunId::LAST, b in 0..RunId::LAST) {
            let (a, b) = (RunId(a), RunId(b));
            prop_assert_eq!(at(&a.to_string()), a);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn comments_are_found_again(name in "\\PC{0,80}", run in 0..RunId::LAST, time in 0..RunId::LAST) {
            let (run, time, user) = (RunId(run), RunId(time), User::from_name(&name));
            let layout = layout("p");
            let key = layout.comment(run, &user, time);
            prop_assert_eq!(layout.parse(&key), Some((run, Part::Comment(user, time))));
        }

        #[test]
        fn no_text_breaks_the_parsers(text in "\\PC{0,40}") {
            let _ = text.parse::<RunId>();
            let _ = text.parse::<Prefix>();
            let _ = text.parse::<super::super::Location>();
            if let Ok(key) = Key::new(text.as_str()) {
                let _ = layout("").parse(&key);
            }
        }
    }
}
