//! Which Catalogs of a schedule go: those that are more than are kept, and those whose time is over. Pure. Must not
//! know how a slot comes.
//!
//! `ttlSecondsAfterFinished` of the template is heeded here, and not by the Catalogs themselves: nothing of a schedule
//! goes before its status has what came of it.

use jiff::{SignedDuration, Timestamp};

use super::Facts;
use crate::controllers::schedule::children::{Child, Outcome};

/// Those that go once the status is written, and when the next one's time is over.
pub(super) fn leaving(facts: &Facts<'_>) -> (Vec<Child>, Option<Timestamp>) {
    let spec = &facts.schedule.spec;
    let ttl = spec.catalog_template.spec.ttl_seconds_after_finished;
    let ttl = ttl.map(|seconds| SignedDuration::from_secs(seconds.into()));
    let (mut leaving, mut expires) = (Vec::new(), None::<Timestamp>);
    for (outcome, limit) in [
        (Outcome::Succeeded, spec.successful_catalogs_history_limit),
        (Outcome::Failed, spec.failed_catalogs_history_limit),
    ] {
        let mut ended: Vec<&Child> = facts
            .children
            .iter()
            .filter(|child| child.outcome == outcome)
            .collect();
        ended.sort_by(|one, other| (one.started, &one.name).cmp(&(other.started, &other.name)));
        let many = ended
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        for (place, child) in ended.into_iter().enumerate() {
            let end = ttl.and_then(|ttl| child.finished?.checked_add(ttl).ok());
            if place < many || end.is_some_and(|end| end <= facts.now) {
                leaving.push(child.clone());
            } else if let Some(end) = end {
                expires = Some(expires.map_or(end, |first| first.min(end)));
            }
        }
    }
    (leaving, expires)
}
