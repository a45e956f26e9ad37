//! The life of a Catalog, played with random changes, ends, crashes and stale reads: what must hold whatever comes.
//!
//! It plays the very functions that the operator runs; only time, sessions and the API server are played.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::conditions::{Facts, update};
use super::due::{Next, Sight, Wanted, is_made, is_under_way, next};
use super::lifecycle::{end, follow, suspend, take_back};
use crate::agent::budget::Spent;
use crate::api::catalog::{CatalogStatus, Phase};
use crate::run::{Kind, Outcome, Remedy};
use crate::sessions::{Ended, Progress, Stop, Trouble};
use crate::store::RunId;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// The spec asks for something else.
    Change(u8),
    /// Its limits change.
    Limits(u8),
    /// One more run is asked for.
    Request(u8),
    /// It is suspended, or not.
    Suspend(bool),
    /// The session gets on.
    Progress,
    /// The session ends well.
    Succeed,
    /// The session fails.
    Fail(bool, bool),
    /// The operator dies: sessions are gone, the status stays.
    Crash,
    /// Time passes.
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..3).prop_map(Step::Change),
        (0_u8..2).prop_map(Step::Limits),
        (0_u8..3).prop_map(Step::Request),
        any::<bool>().prop_map(Step::Suspend),
        Just(Step::Progress),
        Just(Step::Succeed),
        (any::<bool>(), any::<bool>()).prop_map(|(heals, resumable)| Step::Fail(heals, resumable)),
        Just(Step::Crash),
        (0_u16..600).prop_map(Step::Wait),
    ]
}

struct Session {
    progress: Progress,
    began: Timestamp,
    stop: Option<Stop>,
    fingerprint: String,
}

struct World {
    wanted: Wanted,
    status: CatalogStatus,
    session: Option<Session>,
    now: Timestamp,
    /// Each session that began: what it was for, and which request bought it.
    begun: Vec<(String, Option<String>)>,
    serial: u32,
    published: bool,
}

impl World {
    fn new() -> Self {
        Self {
            wanted: Wanted {
                fingerprint: "0".into(),
                settings: "0".into(),
                requested_at: None,
                suspend: false,
                timeout: Duration::from_mins(30),
                ttl: None,
            },
            status: CatalogStatus::default(),
            session: None,
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            begun: Vec::new(),
            serial: 0,
            published: false,
        }
    }

    /// A session has ended, and the controller hears of it.
    fn over(&mut self, ended: &Ended) {
        let Some(session) = self.session.take() else {
            return;
        };
        let summary = end(
            &mut self.status,
            (ended, &session.progress, session.stop),
            2,
            self.now,
        );
        self.published |= self.status.artifacts.is_some();
        self.write(summary.as_ref());
        self.look();
    }

    fn write(&mut self, summary: Option<&super::lifecycle::Summary>) {
        update(
            &mut self.status,
            &Facts {
                wanted: Some(&self.wanted),
                suspended: self.wanted.suspend,
                problem: None,
                obstacle: None,
                summary,
                generation: Some(1),
                now: self.now,
            },
        );
    }

    /// A reconcile.
    fn look(&mut self) {
        let sight = match &self.session {
            None => Sight::Absent,
            Some(session) => {
                follow(&mut self.status, &session.progress, self.now);
                Sight::Running {
                    elapsed: Duration::try_from(self.now.duration_since(session.began)).unwrap_or_default(),
                    stopping: session.stop.is_some(),
                }
            }
        };
        match next(&self.wanted, &self.status, sight, self.now) {
            Next::Begin { run, .. } => {
                let known = run.id.clone();
                // What is made is bought once more only if somebody asks for that.
                let wanted = &self.wanted;
                let asked = wanted.requested_at.is_some()
                    && wanted.requested_at != self.status.last_handled_reconcile_at;
                let before = self.status.run.as_ref().and_then(|run| run.fingerprint.as_ref());
                assert!(asked || before == Some(&wanted.fingerprint) || !is_made(wanted, &self.status));
                self.begun.push((
                    run.fingerprint.clone().unwrap_or_default(),
                    run.requested_at.clone(),
                ));
                self.status.run = Some(*run);
                self.serial += 1;
                let id = known.and_then(|id| id.parse().ok()).unwrap_or_else(|| {
                    RunId::at((self.now + Duration::from_secs(self.serial.into())).into())
                });
                self.session = Some(Session {
                    progress: Progress {
                        run: Some(id),
                        ..Progress::default()
                    },
                    began: self.now,
                    stop: None,
                    fingerprint: self.wanted.fingerprint.clone(),
                });
            }
            Next::Stop(why) => {
                if let Some(session) = &mut self.session {
                    session.stop = Some(why);
                }
                self.over(&Ended::Stopped);
                return;
            }
            Next::TakeBack => take_back(&mut self.status, &self.wanted.settings, self.now),
            Next::Rest if self.wanted.suspend && self.session.is_none() => {
                suspend(&mut self.status, self.now);
            }
            _ => {}
        }
        self.write(None);
    }

    fn succeed(&mut self) {
        let Some(session) = &self.session else { return };
        let run = session.progress.run.unwrap();
        let outcome = Outcome {
            run,
            objects: vec![
                ("catalog.html".into(), format!("s3://x/{run}/catalog.html")),
                ("recent_summary.html".into(), "s3://x/s".into()),
            ],
            summary_failure: None,
            models: Vec::new(),
            spent: Spent::default(),
            driven: Duration::ZERO,
            warnings: Vec::new(),
        };
        self.over(&Ended::Succeeded(Box::new(outcome)));
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Change(to) => self.wanted.fingerprint = to.to_string(),
            Step::Limits(to) => self.wanted.settings = to.to_string(),
            Step::Request(to) => self.wanted.requested_at = (*to > 0).then(|| to.to_string()),
            Step::Suspend(to) => self.wanted.suspend = *to,
            Step::Progress => {
                if let Some(session) = &mut self.session {
                    session.progress.turn += 1;
                    session.progress.stage = crate::sessions::Stage::Cataloging;
                }
            }
            Step::Succeed => self.succeed(),
            Step::Fail(heals, resumable) => self.over(&Ended::Failed(Trouble {
                kind: Kind::Model,
                message: "no".into(),
                remedy: if *heals { Remedy::Retry } else { Remedy::Change },
                not_before: None,
                resumable: *resumable,
            })),
            Step::Crash => self.session = None,
            Step::Wait(seconds) => self.now += Duration::from_secs((*seconds).into()),
        }
        self.look();
    }

    fn condition(&self, kind: &str) -> &str {
        let found = self.status.conditions.iter().find(|it| it.type_ == kind);
        found.map_or("", |it| it.status.as_str())
    }

    fn check(&self) {
        // What is under way is what is asked for.
        if let Some(session) = &self.session {
            assert_eq!(session.fingerprint, self.wanted.fingerprint);
            assert!(!self.wanted.suspend);
        }
        if self.published {
            assert_eq!(self.condition("Ready"), "True");
        }
        let both = self.condition("Reconciling") == "True" && self.condition("Stalled") == "True";
        assert!(!both, "either it goes on or it does not");
        assert!(self.status.history.len() <= 10);
        let kinds: std::collections::BTreeSet<_> =
            self.status.conditions.iter().map(|it| &it.type_).collect();
        assert_eq!(kinds.len(), self.status.conditions.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_happens_it_converges(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        world.look();
        for step in &steps {
            world.play(step);
            world.check();
        }
        // Left alone, with sessions that end well, it comes to what a fresh Catalog comes to.
        world.wanted.suspend = false;
        for _ in 0..12 {
            world.play(&Step::Wait(700));
            world.succeed();
        }
        world.check();
        let run = world.status.run.clone().unwrap();
        prop_assert!(!is_under_way(&run), "{run:?}");
        prop_assert!(world.session.is_none());
        prop_assert_eq!(world.condition("Reconciling"), "False");
        let current = world.status.artifacts.as_ref().map(|it| it.fingerprint.clone());
        if world.status.phase == Some(Phase::Succeeded) {
            prop_assert_eq!(current.flatten(), Some(world.wanted.fingerprint.clone()));
        } else {
            // Only what was given up for good is not there.
            prop_assert_eq!(world.status.phase, Some(Phase::Failed));
            prop_assert_eq!(run.fingerprint, Some(world.wanted.fingerprint.clone()));
        }
        // And then it rests: nothing is bought any more, also not after a crash.
        let bought = world.begun.len();
        let before = world.status.clone();
        for _ in 0..3 {
            world.play(&Step::Crash);
            world.play(&Step::Wait(500));
        }
        prop_assert_eq!(world.begun.len(), bought);
        prop_assert_eq!(&world.status, &before);
    }

    #[test]
    fn crashes_buy_nothing(crashes in prop::collection::vec(any::<bool>(), 0..30)) {
        let mut world = World::new();
        world.look();
        for crash in crashes {
            world.play(if crash { &Step::Crash } else { &Step::Progress });
        }
        let id = world.status.run.as_ref().and_then(|run| run.id.clone());
        world.succeed();
        // The same run, from its first session to its last.
        prop_assert_eq!(world.status.history.len(), 1);
        if id.is_some() {
            prop_assert_eq!(&world.status.history[0].id, &id);
        }
        prop_assert_eq!(world.status.history[0].attempts, 1);
    }
}
