//! Removes old runs with their journals, so that a prefix does not grow for ever.
//!
//! A run goes in this order: the first entry of its journal, so that nobody goes on with it any more; `run.json`, so
//! that no reader takes it for whole; its other objects; the rest of the journal. Cut off anywhere, what is left is
//! found and removed the next time. It must not know who keeps how many.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::journal::persist;
use super::record::Moment;
use crate::store::layout::Part;
use crate::store::{Depth, Key, Layout, Problem, RunId, Store, StoreError, list_all};

/// How many objects are removed at one time.
const REMOVED: usize = 1000;
/// How many runs are looked through for those to keep, beyond as many as are kept.
const LOOKED_THROUGH: usize = 1000;
/// How many old runs are looked at.
const OLD: usize = 500;
/// So many objects are removed side by side.
const REMOVERS: usize = 8;
/// What has no end, and was written to since then, may be under way.
const QUIET: Duration = Duration::from_hours(24);
/// A folder with more in it is none that runs have made.
const MAX_PAGES: usize = 1000;
/// The entries that a journal is expected to have at most.
const MAX_ENTRIES: usize = 100_000;

/// Removes the runs that are older than the `keep` newest ones that came to their end. Those that it removed
/// wholly, the newest first; what is beyond the bounds of one time is removed the next time.
///
/// Never removed: the last run that came to its end, and all after it; one of `protect`; one that holds a comment;
/// one without an end that was written to within a day; and whatever is not ours.
pub async fn retain(
    store: &dyn Store,
    layout: &Layout,
    cancel: &CancellationToken,
    keep: u32,
    protect: &[RunId],
) -> Result<Vec<RunId>, RunError> {
    let place = Place {
        store,
        layout,
        cancel,
    };
    let runs = persist(cancel, || layout.runs(store)).await?;
    let Some(oldest) = place.oldest_kept(&runs, keep).await? else {
        return Ok(Vec::new());
    };
    let journals = persist(cancel, || layout.journals(store)).await?;
    let old: BTreeSet<RunId> = runs
        .into_iter()
        .chain(journals)
        .filter(|run| *run < oldest && !protect.contains(run))
        .collect();
    let mut removed = Vec::new();
    let mut left = REMOVED;
    for run in old.into_iter().rev().take(OLD) {
        place.check()?;
        let Some(remains) = place.removable(run).await? else {
            continue;
        };
        let keys = remains.in_order();
        if !keys.is_empty() && place.remove(keys, &mut left).await? {
            removed.push(run);
        }
        if left == 0 {
            break;
        }
    }
    Ok(removed)
}

struct Place<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
    cancel: &'a CancellationToken,
}

/// What there is of a run, as far as it is ours.
#[derive(Debug, Default)]
struct Remains {
    /// The first entry of the journal.
    claim: Option<Key>,
    /// `run.json`
    report: Option<Key>,
    /// All other objects of its folder.
    pages: Vec<Key>,
    has_catalog: bool,
    has_comments: bool,
    /// The other entries of the journal.
    entries: Vec<Key>,
}

impl Remains {
    fn is_good(&self) -> bool {
        self.report.is_some() && self.has_catalog
    }

    /// The first two one after the other, in this order; whatever comes then at once.
    fn in_order(self) -> Vec<Key> {
        let first = self.claim.into_iter().chain(self.report);
        first.chain(self.pages).chain(self.entries).collect()
    }
}

/// What is read of an entry, whichever release wrote it.
#[derive(Deserialize)]
struct Dated {
    at: Moment,
}

impl Place<'_> {
    fn check(&self) -> Result<(), RunError> {
        if self.cancel.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        Ok(())
    }

    /// The oldest of the newest runs that came to their end, of which `keep` are kept, and one at least.
    async fn oldest_kept(&self, runs: &[RunId], keep: u32) -> Result<Option<RunId>, RunError> {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
        let mut kept = 0;
        let mut oldest = None;
        for (looked, run) in runs.iter().rev().enumerate() {
            self.check()?;
            if looked >= keep.saturating_add(LOOKED_THROUGH) {
                // It is not known which to keep.
                return Ok(None);
            }
            if !self.pages(*run).await?.is_some_and(|remains| remains.is_good()) {
                continue;
            }
            kept += 1;
            oldest = Some(*run);
            if kept == keep {
                break;
            }
        }
        Ok(oldest)
    }

    /// What is in the folder of a run; none if it holds more than runs make.
    async fn pages(&self, run: RunId) -> Result<Option<Remains>, StoreError> {
        let Some(page) = self.listed(self.layout.run_folder(run), MAX_PAGES).await? else {
            return Ok(None);
        };
        let mut remains = Remains {
            has_comments: page.folders.contains(&self.layout.comments_folder(run)),
            ..Remains::default()
        };
        for listed in page.objects {
            match self.layout.parse(&listed.key) {
                Some((_, Part::Run)) => remains.report = Some(listed.key),
                Some((_, part)) => {
                    remains.has_catalog |= part == Part::Catalog;
                    remains.pages.push(listed.key);
                }
                None => {}
            }
        }
        Ok(Some(remains))
    }

    /// What is to be removed of a run; none if it stays.
    async fn removable(&self, run: RunId) -> Result<Option<Remains>, RunError> {
        let Some(mut remains) = self.pages(run).await?.filter(|it| !it.has_comments) else {
            return Ok(None);
        };
        let Some(page) = self.listed(self.layout.journal_folder(run), MAX_ENTRIES).await? else {
            return Ok(None);
        };
        for listed in page.objects {
            match self.layout.parse(&listed.key) {
                Some((_, Part::Entry(1))) => remains.claim = Some(listed.key),
                Some((_, Part::Entry(_))) => remains.entries.push(listed.key),
                _ => {}
            }
        }
        // Without its claim nobody can go on with it: what is left of it was to be removed before.
        let Some(claim) = &remains.claim else {
            return Ok(Some(remains));
        };
        let last = remains.entries.last().unwrap_or(claim);
        if remains.report.is_none() && !self.is_quiet(run, last).await? {
            return Ok(None);
        }
        Ok(Some(remains))
    }

    /// Whether a run without an end was left alone for long, by its last entry.
    async fn is_quiet(&self, run: RunId, last: &Key) -> Result<bool, RunError> {
        let object = persist(self.cancel, || self.store.get(last)).await?;
        let dated = object.and_then(|object| serde_json::from_slice::<Dated>(&object.content).ok());
        Ok(match dated {
            Some(dated) => Moment::now().since(dated.at) > QUIET,
            None => RunId::now()
                .time()
                .duration_since(run.time())
                .is_ok_and(|age| age > QUIET),
        })
    }

    async fn listed(&self, folder: Key, most: usize) -> Result<Option<crate::store::Page>, StoreError> {
        let listed = persist(self.cancel, || {
            list_all(self.store, Some(folder.clone()), Depth::Folder, most)
        });
        match listed.await {
            Ok(page) => Ok(Some(page)),
            Err(error) if matches!(error.problem, Problem::TooMany { .. }) => {
                tracing::warn!(%error, "left alone");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes objects, the first two one after the other. Whether all of them are gone.
    async fn remove(&self, mut keys: Vec<Key>, left: &mut usize) -> Result<bool, RunError> {
        let all = keys.len() <= *left;
        keys.truncate(*left);
        *left -= keys.len();
        let rest = keys.split_off(keys.len().min(2));
        for key in &keys {
            persist(self.cancel, || self.store.delete(key)).await?;
        }
        let gone = stream::iter(rest).map(async |key: Key| {
            self.check()?;
            persist(self.cancel, || self.store.delete(&key))
                .await
                .map_err(RunError::from)
        });
        gone.buffer_unordered(REMOVERS).try_collect::<()>().await?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
