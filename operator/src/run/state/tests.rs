//! Entries, folded: what is in doubt after the last of them, and how long a run was driven.

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::run::record::VERSION;

/// A run whose entries came so many seconds after the first.
fn state(version: u32, entries: &[(i64, serde_json::Value)]) -> State {
    let begin: jiff::Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let claim = json!({"claimed": {
        "run": "20261121T120000Z", "cataloger": "0.1.0", "installation": "here", "fingerprint": "f",
        "asked": {"database": "d", "tables": ["t"], "storage": "s", "model": "anthropic/a", "prompts": []},
        "limits": crate::agent::budget::Limits {
            tokens: 1, cost: None, turns: 1, time: Duration::from_mins(30),
        },
        "manifest": null,
    }});
    let mut all = vec![(0, claim)];
    all.extend_from_slice(entries);
    let entries = all.into_iter().map(|(second, record)| {
        let at = begin + SignedDuration::from_secs(second);
        let entry = json!({"version": version, "writer": "w", "at": at.to_string(), "record": record});
        serde_json::from_value(entry).unwrap()
    });
    State::fold(entries.collect()).unwrap()
}

fn published(name: &str, sha256: &str) -> serde_json::Value {
    json!({"published": {"name": name, "bytes": 1, "sha256": sha256}})
}

fn resumed() -> serde_json::Value {
    let limits = Limits {
        tokens: 1,
        cost: None,
        turns: 1,
        time: Duration::from_mins(30),
    };
    json!({"resumed": {"limits": limits}})
}

#[test]
fn what_was_noted_last_may_not_be_there() {
    let (script, page) = (published("a.py", "1"), published("a.html", "2"));
    let both = [(1, script.clone()), (2, page.clone()), (3, resumed())];
    let known = state(VERSION, &both);
    assert!(known.is_published("a.py") && !known.is_published("a.html"));
    assert_eq!(known.in_doubt("a.html").unwrap().sha256, "2");
    assert!(known.in_doubt("a.py").is_none());
    // Another release made another page of it, for the first was not there.
    let other = [
        both[0].clone(),
        both[1].clone(),
        both[2].clone(),
        (4, published("a.html", "3")),
    ];
    let known = state(VERSION, &other);
    assert_eq!(known.in_doubt("a.html").unwrap().sha256, "3");
    assert_eq!(known.published.len(), 2);
    // What was noted before it, and what was gone on after, is there.
    let mut known = state(
        VERSION,
        &[(1, script), (2, page), (3, json!({"finished": {"warnings": []}}))],
    );
    assert!(known.is_published("a.html"));
    known.is_written();
    // The version before noted what it had written.
    assert!(state(1, &both).is_published("a.html"));
}

#[test]
fn a_clock_that_jumps_takes_no_time_from_a_run() {
    let shortened = || published("x", "1");
    let known = state(VERSION, &[(60, shortened()), (100, shortened())]);
    assert_eq!(known.driven(), Duration::from_secs(100));
    // The time between attempts does not count.
    let known = state(
        VERSION,
        &[(60, shortened()), (5000, resumed()), (5010, shortened())],
    );
    assert_eq!(
        (known.driven_before(), known.driven()),
        (Duration::from_mins(1), Duration::from_secs(70))
    );
    // A day ahead, and back again.
    let known = state(
        VERSION,
        &[
            (60, shortened()),
            (86_400, shortened()),
            (70, shortened()),
            (80, shortened()),
        ],
    );
    assert_eq!(
        known.driven(),
        Duration::from_mins(1) + GAP + Duration::from_secs(10)
    );
}
