//! Faults of all kinds at moments that follow from a seed, over many runs at once: kills, connections that break,
//! errors of the bucket, sandboxes that are deleted, an API server that goes and comes back. All has to converge.
//!
//! A fault waits for so many requests, not for a time: so that it hits work, however fast that goes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use super::ground::{Ground, Scene, author};
use super::outcome::Outcome;
use crate::author::place;
use crate::faults::{Act, Moment, Place, Points, Seen, Victim};

/// How long all runs may take together.
const PATIENCE: Duration = Duration::from_mins(20);
/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(2);
/// How long something slow takes.
const SLOW: Duration = Duration::from_secs(3);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The operator is killed, before or after what is asked.
    Kill { after: bool },
    /// The connection breaks.
    Cut { after: bool },
    /// An error is answered: one that passes, since a refusal for want of a right ends a run.
    Error(u16),
    /// It takes a while.
    Slow,
    /// A sandbox is deleted.
    Evict(usize),
    /// The API server breaks all connections, and is away for a moment.
    Away,
}

impl Kind {
    fn random(random: &mut StdRng) -> Self {
        let after = random.random_bool(0.5);
        match random.random_range(0..20) {
            0..3 => Self::Kill { after },
            3..8 => Self::Cut { after },
            8..15 => Self::Error([429, 500, 503][random.random_range(0..3)]),
            15..17 => Self::Slow,
            17..19 => Self::Evict(random.random_range(0..1000)),
            _ => Self::Away,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kills",
            Self::Cut { .. } => "cuts",
            Self::Error(_) => "errors",
            Self::Slow => "delays",
            Self::Evict(_) => "sandboxes deleted",
            Self::Away => "API restarts",
        }
    }

    /// Whether it can hit what is asked. Errors are the bucket's.
    fn hits(self, seen: &Seen<'_>) -> bool {
        let after = matches!(seen.moment, Moment::After { .. });
        match self {
            Self::Kill { after: wanted } | Self::Cut { after: wanted } => after == wanted,
            Self::Error(_) => !after && seen.point.place == Place::Bucket,
            _ => !after,
        }
    }
}

/// What is played.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// How many faults.
    pub faults: usize,
    /// How many runs at once.
    pub runs: usize,
    /// From which they follow.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Damage {
    runs: usize,
    converged: usize,
    faults: BTreeMap<&'static str, usize>,
    lives: u32,
    asked_again: u32,
    excused: u32,
    paid_twice: u32,
    published_twice: u32,
    leftovers: usize,
    wanted: usize,
    time: Duration,
    trouble: Vec<String>,
}

impl Damage {
    fn done(&self) -> usize {
        self.faults.values().sum()
    }

    /// Whether all went well, and all that was to happen did.
    pub fn is_clean(&self) -> bool {
        self.done() == self.wanted
            && self.converged == self.runs
            && self.trouble.is_empty()
            && self.paid_twice + self.published_twice == 0
            && self.leftovers == 0
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trouble in &self.trouble {
            writeln!(formatter, "random faults: {trouble}")?;
        }
        let kinds: Vec<String> = self
            .faults
            .iter()
            .map(|(kind, times)| format!("{times} {kind}"))
            .collect();
        writeln!(
            formatter,
            "random faults: {} in {:.0} s, {} lives of the operator; the model was asked {} times again, {} answers had been lost",
            kinds.join(", "),
            self.time.as_secs_f64(),
            self.lives,
            self.asked_again,
            self.excused,
        )?;
        write!(
            formatter,
            "random faults: faults={} runs={} converged={} published_twice={} leftovers={} paid_twice={}",
            self.done(),
            self.runs,
            self.converged,
            self.published_twice,
            self.leftovers,
            self.paid_twice
        )
    }
}

/// What models were asked by one Catalog.
#[derive(Debug, Default)]
struct Bought {
    /// Questions that have reached a model.
    asked: u32,
    /// Answers that are in the journal.
    kept: u32,
    /// Answers that nobody could have kept.
    lost: u32,
}

/// What is to come, and what was seen.
struct Weather {
    random: StdRng,
    left: usize,
    /// So many requests until the next one.
    calm: u32,
    next: Kind,
    away: bool,
    done: BTreeMap<&'static str, usize>,
    bought: BTreeMap<String, Bought>,
    published: BTreeMap<String, u32>,
    orders: UnboundedSender<Kind>,
}

impl Weather {
    fn new(storm: Storm, orders: UnboundedSender<Kind>) -> Self {
        let mut random = StdRng::seed_from_u64(storm.seed);
        Self {
            calm: 20,
            next: Kind::random(&mut random),
            random,
            left: storm.faults,
            away: false,
            done: BTreeMap::new(),
            bought: BTreeMap::new(),
            published: BTreeMap::new(),
            orders,
        }
    }

    fn decide(&mut self, seen: &Seen<'_>, victim: &Victim) -> Act {
        // An operator begins: what another one asked, and did not write down, is lost.
        if seen.point.what == "GET leases" {
            for bought in self.bought.values_mut() {
                bought.lost += bought.asked.saturating_sub(bought.kept + bought.lost);
            }
        }
        self.note_done(seen);
        let act = self.act(seen, victim);
        let asks = seen.point.place == Place::Model && seen.point.writes;
        if asks && let Some(bought) = self.bought.get_mut(catalog(seen.path)) {
            match (seen.moment, act) {
                (Moment::Before, Act::Pass | Act::Wait(_)) => bought.asked += 1,
                (Moment::After { .. }, Act::Cut | Act::Answer(_)) => bought.lost += 1,
                _ => {}
            }
        }
        act
    }

    fn act(&mut self, seen: &Seen<'_>, victim: &Victim) -> Act {
        if self.away && seen.point.place == Place::Api {
            return Act::Cut;
        }
        // Leases are renewed while nothing happens.
        if self.left == 0 || seen.point.what.ends_with("leases") {
            return Act::Pass;
        }
        self.calm = self.calm.saturating_sub(1);
        if self.calm > 0 || !self.next.hits(seen) {
            return Act::Pass;
        }
        let act = match self.next {
            Kind::Kill { .. } => {
                if !victim.kill() {
                    return Act::Pass;
                }
                Act::Cut
            }
            Kind::Cut { .. } => Act::Cut,
            Kind::Error(status) => Act::Answer(status),
            Kind::Slow => Act::Wait(SLOW),
            kind @ (Kind::Evict(_) | Kind::Away) => {
                self.away |= kind == Kind::Away;
                // It is received for as long as anything is asked.
                let _ = self.orders.send(kind);
                Act::Pass
            }
        };
        *self.done.entry(self.next.name()).or_default() += 1;
        self.left -= 1;
        self.calm = self.random.random_range(1..20);
        self.next = Kind::random(&mut self.random);
        act
    }

    fn note_done(&mut self, seen: &Seen<'_>) {
        let done = matches!(
            seen.moment,
            Moment::After {
                status: Some(200..=299)
            }
        );
        if !done || seen.point.place != Place::Bucket || !seen.point.what.starts_with("PUT ") {
            return;
        }
        if !seen.path.contains("/probe-") {
            *self.published.entry(seen.path.to_owned()).or_default() += 1;
        }
        let entry: Value = serde_json::from_slice(seen.body).unwrap_or_default();
        if entry["record"]["answered"].is_object() {
            let of = seen.path.split("/.journal/").next().unwrap_or_default();
            let name = of.rsplit('/').next().unwrap_or_default();
            self.bought.entry(name.to_owned()).or_default().kept += 1;
        }
    }
}

/// Whose question it is: the first part of its path.
fn catalog(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn lock(weather: &Mutex<Weather>) -> MutexGuard<'_, Weather> {
    weather.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays it.
pub async fn storm(ground: &Ground, storm: Storm) -> Damage {
    let began = Instant::now();
    let (orders, ordered) = unbounded_channel();
    let weather = Arc::new(Mutex::new(Weather::new(storm, orders)));
    let victim = Victim::default();
    let points = {
        let (weather, victim) = (Arc::clone(&weather), victim.clone());
        Points::new(move |seen| lock(&weather).decide(&seen, &victim))
    };
    let scene = Scene::new(ground, "storm", points, author()).await;
    let names: Vec<String> = (0..storm.runs).map(|number| format!("c{number:02}")).collect();
    for name in &names {
        lock(&weather).bought.insert(name.clone(), Bought::default());
        scene.begin(name).await;
    }
    let mut damage = Damage {
        runs: storm.runs,
        wanted: storm.faults,
        ..Damage::default()
    };
    let all = async {
        let over = join_all(names.iter().map(|name| scene.over(name, PATIENCE))).await;
        (over, scene.leftovers().await)
    };
    let driven = drive(&scene, &victim, storm.runs, &mut damage.lives);
    let (over, leftovers) = tokio::select! {
        ended = all => ended,
        _ = async { tokio::join!(obey(&scene, &weather, ordered), driven) } => {
            unreachable!("an operator is started again and again")
        }
    };
    for (name, over) in names.iter().zip(over) {
        match over {
            Ok(_) => damage.converged += 1,
            Err(why) => damage.trouble.push(format!("{name}: {why}\n{}", scene.log())),
        }
    }
    if !leftovers.is_empty() {
        damage.leftovers += leftovers.len();
        damage.trouble.push(format!("left over: {leftovers:?}"));
    }
    damage.time = began.elapsed();
    reckon(&scene, &names, &weather, &mut damage).await;
    if damage.trouble.is_empty() {
        scene.remove().await;
    }
    damage
}

/// Starts an operator whenever there is none. The last one ends with its handle.
async fn drive(scene: &Scene<'_>, victim: &Victim, runs: usize, lives: &mut u32) {
    let most = runs.to_string();
    loop {
        *lives += 1;
        // As a container that is started anew, and at times as another Pod.
        let identity = format!("replica-{}", *lives / 3);
        let mut command = scene.command(&identity, &[("CATALOGER_MAX_RUNS", &most)]);
        let mut child = victim.start(&mut command);
        // One that has lost its lease ends by itself.
        let _ = child.wait().await;
        victim.ended();
        sleep(Duration::from_millis(100)).await;
    }
}

/// Does what no proxy can do by itself.
async fn obey(scene: &Scene<'_>, weather: &Mutex<Weather>, mut ordered: UnboundedReceiver<Kind>) {
    let operator = &scene.ground.operator;
    let pods: Api<Pod> = Api::namespaced(operator.cluster.admin.clone(), &operator.sandboxes());
    while let Some(order) = ordered.recv().await {
        if let Kind::Evict(which) = order {
            let sandboxes = scene.sandboxes().await;
            let names: Vec<&str> = sandboxes
                .iter()
                .filter_map(|name| name.strip_prefix("Pod "))
                .collect();
            if !names.is_empty() {
                let at_once = DeleteParams::default().grace_period(0);
                // It may have gone by itself.
                let _ = pods.delete(names[which % names.len()], &at_once).await;
            }
        } else {
            scene.api.sever();
            sleep(AWAY).await;
            lock(weather).away = false;
        }
    }
}

/// Looks at what is there in the end.
async fn reckon(scene: &Scene<'_>, names: &[String], weather: &Mutex<Weather>, damage: &mut Damage) {
    let mut asked: BTreeMap<(String, String), u32> = BTreeMap::new();
    for request in scene.server.requests() {
        let whose = catalog(&request.path).to_owned();
        let turn = format!("{:?}", place(&request));
        *asked.entry((whose, turn)).or_default() += 1;
    }
    damage.trouble.extend(scene.server.problems());
    {
        let weather = lock(weather);
        damage.faults.clone_from(&weather.done);
        for name in names {
            let of_it = asked.iter().filter(|((whose, _), _)| whose == name);
            let again: u32 = of_it.map(|(_, times)| times - 1).sum();
            let lost = weather.bought.get(name).map_or(0, |bought| bought.lost);
            damage.asked_again += again;
            damage.excused += lost;
            if again > lost {
                damage.paid_twice += again - lost;
                damage.trouble.push(format!(
                    "{name}: asked {again} times again, {lost} answers were lost"
                ));
            }
        }
        for (path, times) in weather.published.iter().filter(|(_, times)| **times > 1) {
            damage.published_twice += 1;
            damage.trouble.push(format!("{path} was made {times} times"));
        }
    }
    let mut first: Option<Outcome> = None;
    for name in names {
        let outcome = Outcome::of(scene, name).await;
        if !outcome.stray.is_empty() {
            damage.leftovers += outcome.stray.len();
            damage
                .trouble
                .push(format!("{name}: left over: {:?}", outcome.stray));
        }
        let differs = first
            .as_ref()
            .map_or_else(Vec::new, |first| first.pages(&outcome));
        damage
            .trouble
            .extend(differs.into_iter().map(|what| format!("{name}: {what}")));
        first.get_or_insert(outcome);
    }
}
