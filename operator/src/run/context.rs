//! What earlier runs and people have left under the prefix, for the agents of the next run: bounded, without
//! tags, and never trusted.

use std::fmt::Write as _;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::journal::persist;
use crate::html;
use crate::llm::cut;
use crate::store::layout::Part;
use crate::store::{Depth, Key, Layout, Listing, Problem, RunId, Store, StoreError};

/// How many earlier catalogs the summary is made from.
const CATALOGS: usize = 5;
/// How many runs are looked through for them: those that came to nothing have none.
const LOOKED_THROUGH: usize = 40;
/// Of the last catalog, in characters.
const CATALOG: usize = 12_000;
/// Of the last summary.
const SUMMARY: usize = 3_000;
/// Of the last script.
const SCRIPT: usize = 6_000;
/// Of a comment, and of all of them.
const COMMENT: usize = 1_000;
const COMMENTS: usize = 6_000;

/// What the agent that catalogs is told of the past.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    pub(super) catalog: String,
    pub(super) summary: String,
    pub(super) script: String,
    pub(super) comments: String,
}

/// Reads what is under a prefix.
pub(super) struct Reader<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) layout: &'a Layout,
    pub(super) cancel: &'a CancellationToken,
}

impl Reader<'_> {
    /// The runs before `run` that have a catalog, the newest first; at most [`CATALOGS`].
    pub(super) async fn earlier(&self, run: RunId) -> Result<Vec<RunId>, StoreError> {
        let runs = persist(self.cancel, || self.layout.runs(self.store)).await?;
        let earlier = runs.into_iter().rev().filter(|it| *it < run);
        let newest: Vec<RunId> = earlier.take(LOOKED_THROUGH).collect();
        persist(self.cancel, || {
            self.layout
                .with_catalog(self.store, newest.iter().copied(), CATALOGS)
        })
        .await
    }

    /// What `earlier` runs have left.
    pub(super) async fn past(&self, earlier: &[RunId]) -> Result<Past, StoreError> {
        let mut past = Past {
            comments: self.comments(earlier).await?,
            ..Past::default()
        };
        let Some(last) = earlier.first() else {
            return Ok(past);
        };
        past.catalog = html::text(&self.text(&self.layout.catalog(*last)).await?, CATALOG);
        past.script = self.script(&self.layout.catalog_script(*last)).await?;
        past.summary = self.last_summary(earlier).await?.0;
        Ok(past)
    }

    /// The last summary and its script: not every run has one.
    pub(super) async fn last_summary(&self, earlier: &[RunId]) -> Result<(String, String), StoreError> {
        for run in earlier {
            let summary = html::text(&self.text(&self.layout.summary(*run)).await?, SUMMARY);
            if !summary.trim().is_empty() {
                let script = self.script(&self.layout.summary_script(*run)).await?;
                return Ok((summary, script));
            }
        }
        Ok(Default::default())
    }

    /// The cells of a script, without what every script begins with.
    async fn script(&self, key: &Key) -> Result<String, StoreError> {
        let text = self.text(key).await?;
        let cells = text.find("\n# %% ").map_or(text.as_str(), |at| &text[at + 1..]);
        Ok(head(cells, SCRIPT))
    }

    /// A catalog as it is; none if it is gone.
    pub(super) async fn catalog(&self, run: RunId) -> Result<Option<Bytes>, StoreError> {
        let key = self.layout.catalog(run);
        self.object(&key).await
    }

    /// What people have written about these runs, the newest first.
    pub(super) async fn comments(&self, runs: &[RunId]) -> Result<String, StoreError> {
        let mut out = String::new();
        for run in runs {
            let folder = self.layout.comments_folder(*run);
            // One page of a listing: more than a thousand comments are not looked through.
            let listing = Listing::of(Some(folder), Depth::Folder);
            let page = persist(self.cancel, || self.store.list(&listing)).await?;
            let mut comments: Vec<_> = page
                .objects
                .iter()
                .filter_map(|listed| match self.layout.parse(&listed.key)? {
                    (_, Part::Comment(user, time)) => Some((time, user, &listed.key)),
                    _ => None,
                })
                .collect();
            comments.sort_by(|(a, ..), (b, ..)| b.cmp(a));
            for (time, user, key) in comments {
                let text = html::text(&self.text(key).await?, COMMENT);
                let before = out.len();
                // Writing to a string can't fail.
                let _ = writeln!(
                    out,
                    "{user}, {}, about the run of {}:\n{text}\n",
                    time.readable(),
                    run.readable()
                );
                if out.chars().count() > COMMENTS {
                    out.truncate(before);
                    out.push_str("(There are more comments, left out for want of room.)\n");
                    return Ok(out);
                }
            }
        }
        Ok(out)
    }

    async fn text(&self, key: &Key) -> Result<String, StoreError> {
        let object = self.object(key).await?;
        Ok(object.map_or_else(String::new, |content| {
            String::from_utf8_lossy(&content).into_owned()
        }))
    }

    async fn object(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        match persist(self.cancel, || self.store.get(key)).await {
            Ok(object) => Ok(object.map(|object| object.content)),
            // Nobody writes such pages; what is there is not needed to go on.
            Err(error) if matches!(error.problem, Problem::TooLarge { .. }) => {
                tracing::warn!(%error, "left out");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The begin of a text.
fn head(text: &str, characters: usize) -> String {
    let short = cut(text, characters);
    if short.len() < text.len() {
        format!("{short}\n(The rest is left out.)")
    } else {
        short
    }
}
