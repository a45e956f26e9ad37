//! A run whose operator is killed at one point, or at none, and goes on in another process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::timeout;

use super::count;
use super::ground::{Ground, Scene, author};
use super::outcome::Outcome;
use crate::author::place;
use crate::faults::{Act, Moment, Place, Point, Points, Seen, Victim};

/// How long a case may take, until its Catalog is done: on a machine that is busy with something else a sandbox may
/// need a second try.
const PATIENCE: Duration = Duration::from_mins(6);
/// How long an operator may take to stop in good order.
const STOP: Duration = Duration::from_mins(1);
/// More lives than this are no recovery.
const LIVES: u32 = 6;
/// The exit code of an operator that has lost its lease.
const LOST: i32 = 1;
/// The Catalog.
const NAME: &str = "shop";

/// Where the operator is killed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Blow {
    pub(super) point: Point,
    /// Once it was done but not heard of; else before it is sent.
    pub(super) after: bool,
}

impl std::fmt::Display for Blow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let when = if self.after { "after" } else { "before" };
        write!(formatter, "{when} {}", self.point)
    }
}

/// What came of a case.
#[derive(Debug)]
pub(super) struct Facts {
    /// Whether the operator was killed: a run need not come by each point.
    pub(super) struck: bool,
    /// All that was asked for.
    pub(super) writes: Vec<Point>,
    /// What is in the bucket.
    pub(super) outcome: Outcome,
    /// Which objects of the run's folder were made, and how often.
    pub(super) published: BTreeMap<String, u32>,
    /// What is left in the cluster.
    pub(super) leftovers: Vec<String>,
    /// How often models were asked the same once more.
    pub(super) asked_again: u32,
    /// How often that may be: for an answer that was on its way, or not in the journal yet.
    pub(super) in_flight: u32,
    /// How often an operator ended without being killed: one that is kept from its processor for long loses its lease.
    pub(super) gave_up: u32,
    /// What is wrong besides.
    pub(super) problems: Vec<String>,
    /// How often models were asked.
    pub(super) asked: usize,
}

/// What is seen as it happens.
#[derive(Debug, Default)]
struct Watched {
    published: BTreeMap<String, u32>,
    /// Questions that have reached a model.
    asked: u32,
    /// Answers that are in the journal.
    kept: u32,
    /// Answers that died with an operator.
    lost: u32,
    /// Whether the operator was killed.
    struck: bool,
}

impl Watched {
    fn see(&mut self, seen: &Seen<'_>) {
        // An operator begins: what another one asked, and did not write down, is lost.
        if seen.point.what == "GET leases" {
            self.lost += self.asked.saturating_sub(self.kept + self.lost);
        }
        let done = matches!(
            seen.moment,
            Moment::After {
                status: Some(200..=299)
            }
        );
        if !done || seen.point.place != Place::Bucket {
            return;
        }
        let Some(object) = seen.point.what.strip_prefix("PUT ") else {
            return;
        };
        if object != "probe" {
            *self.published.entry(object.to_owned()).or_default() += 1;
        }
        let entry: Value = serde_json::from_slice(seen.body).unwrap_or_default();
        self.kept += u32::from(entry["record"]["answered"].is_object());
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Points by whose proxies the victim is killed at a blow.
fn points(victim: &Victim, watched: &Arc<Mutex<Watched>>, blow: Option<Blow>) -> Points {
    let (victim, watched) = (victim.clone(), Arc::clone(watched));
    Points::new(move |seen| {
        let mut watched = lock(&watched);
        watched.see(&seen);
        let now = matches!(seen.moment, Moment::After { .. });
        let is_it = blow
            .as_ref()
            .is_some_and(|blow| blow.after == now && blow.point == *seen.point);
        if is_it && !watched.struck && victim.kill() {
            watched.struck = true;
            return Act::Cut;
        }
        watched.asked += u32::from(seen.point.place == Place::Model && seen.point.writes && !now);
        Act::Pass
    })
}

/// Plays a case to its end.
pub(super) async fn play(ground: &Ground, name: &str, blow: Option<Blow>) -> Result<Facts, String> {
    let (victim, watched) = (Victim::default(), Arc::default());
    let points = points(&victim, &watched, blow.clone());
    let scene = Scene::new(ground, name, points, author()).await;
    scene.begin(NAME).await;
    // Whoever comes after is now the same Pod, whose container was started anew, and now another one.
    let other = blow.as_ref().is_some_and(|blow| blow.point.number % 2 == 0);
    let mut problems = Vec::new();
    let (mut lives, mut gave_up) = (0, 0);
    let leftovers = loop {
        lives += 1;
        if lives > LIVES {
            return Err(format!("it dies again and again: {problems:?}\n{}", scene.log()));
        }
        let identity = if other {
            format!("replica-{lives}")
        } else {
            "replica".to_owned()
        };
        let (before, listen) = (victim.kills(), count::free().await);
        let mut child =
            victim.start(&mut scene.command(&identity, &[("CATALOGER_LISTEN", &listen.to_string())]));
        let settled = async {
            scene.over(NAME, PATIENCE).await?;
            // A run may have been over before it began.
            count::leads(listen).await?;
            let leftovers = scene.leftovers().await;
            if blow.is_none() {
                count::compare(listen, &scene.points).await?;
            }
            Ok::<_, String>(leftovers)
        };
        let settled = tokio::select! {
            status = child.wait() => {
                victim.ended();
                if victim.kills() == before {
                    gave_up += 1;
                    if !matches!(&status, Ok(status) if status.code() == Some(LOST)) {
                        problems.push(format!("the operator ended by itself: {status:?}"));
                    }
                }
                continue;
            }
            settled = settled => settled.map_err(|why| format!("{why}\n{}", scene.log()))?,
        };
        victim.signal(Signal::TERM);
        let stopped = timeout(STOP, child.wait()).await;
        victim.ended();
        match stopped {
            // It was hit as it stopped: the next one finds all as it should be, or makes it so.
            _ if victim.kills() != before => {}
            Ok(Ok(status)) if status.success() => break settled,
            Ok(status) => return Err(format!("it does not stop well: {status:?}\n{}", scene.log())),
            Err(_) => return Err(format!("it does not stop\n{}", scene.log())),
        }
    };
    let requests = scene.server.requests();
    let mut questions = BTreeMap::new();
    for request in &requests {
        let (asker, turn) = place(request);
        *questions.entry(format!("{asker:?} {turn}")).or_insert(0_u32) += 1;
    }
    problems.extend(scene.server.problems());
    let (published, struck, in_flight) = {
        let watched = lock(&watched);
        (watched.published.clone(), watched.struck, watched.lost)
    };
    let facts = Facts {
        struck,
        writes: scene.points.writes(),
        outcome: Outcome::of(&scene, NAME).await,
        published,
        leftovers,
        asked_again: questions.values().map(|times| times - 1).sum(),
        in_flight,
        gave_up,
        problems,
        asked: requests.len(),
    };
    scene.remove().await;
    Ok(facts)
}
