//! All that knows Kubernetes' API: the controllers of the kinds, and what they share.
//!
//! Must not know how a model speaks or how a run is driven: a controller says what is due, and sees what became of it.

pub mod announce;
mod apply;
pub mod catalog;
pub mod installation;
mod place;
pub mod provider;
pub mod schedule;
pub mod secrets;
pub mod settings;
pub mod trial;
mod unread;

use jiff::Timestamp;

/// How long the API server may take for an answer. kube itself would try again for a quarter of an hour.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(10);

/// A time as a status has it, in whole seconds: what is read back must be what was written.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The time, as a status has it.
fn now() -> Timestamp {
    whole_second(Timestamp::now())
}
