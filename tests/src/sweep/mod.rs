//! The kill sweep: a run is played once undisturbed, and every external write of it is a point. Then it is played again
//! for each, and the operator, a real process, is killed there: once before the write is sent, once after it was done
//! but not heard of. Another process goes on, and the result has to be the same.
//!
//! It works in the tests' own cluster, with real sandboxes, a real bucket and a real database. Only the model is played.

mod case;
mod count;
mod ground;
mod outcome;
mod storm;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use self::ground::Ground;
pub use self::storm::{Damage, Storm, storm};

use self::case::{Blow, Facts, play};
use crate::faults::{Place, Point};

/// What is played.
#[derive(Debug, Clone)]
pub struct Options {
    /// One of so many points, chosen by the seed; all, if it is 1.
    pub one_of: usize,
    /// By which they are chosen.
    pub seed: u64,
    /// How many at once.
    pub parallel: usize,
    /// Only points whose name, such as `before bucket PUT catalog.html #1`, has this in it.
    pub only: Option<String>,
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Sum {
    /// The writes of an undisturbed run.
    pub points: usize,
    /// How often an operator was killed.
    pub kills: usize,
    /// After how many of these all was as it should be.
    pub converged: usize,
    /// Objects that were made more than once.
    pub published_twice: u32,
    /// Pods and policies that stayed.
    pub leftovers: usize,
    /// Questions that a model was asked once more, though their answers were kept.
    pub paid_twice: u32,
    /// Those whose answers were on their way.
    pub asked_again: u32,
    /// Operators that lost their lease besides.
    pub gave_up: u32,
    /// Points that their run did not come by.
    pub missed: Vec<String>,
    /// What went wrong, and where.
    pub trouble: Vec<String>,
    /// How long it took.
    pub time: Duration,
}

impl Sum {
    /// Whether all went well, and something was tried.
    pub fn is_clean(&self) -> bool {
        self.kills > 0
            && self.converged == self.kills
            && self.trouble.is_empty()
            && self.published_twice == 0
            && self.leftovers == 0
            && self.paid_twice == 0
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trouble in &self.trouble {
            writeln!(formatter, "kill sweep: {trouble}")?;
        }
        if !self.missed.is_empty() {
            writeln!(formatter, "kill sweep: not come by: {}", self.missed.join(", "))?;
        }
        writeln!(
            formatter,
            "kill sweep: {} kills in {:.0} s, {} answers that were on their way asked for again, {} leases lost besides",
            self.kills,
            self.time.as_secs_f64(),
            self.asked_again,
            self.gave_up,
        )?;
        write!(
            formatter,
            "kill sweep: points={} converged={}/{} published_twice={} leftovers={} paid_twice={}",
            self.points, self.converged, self.kills, self.published_twice, self.leftovers, self.paid_twice
        )
    }
}

/// Plays it.
pub async fn sweep(ground: Arc<Ground>, options: &Options) -> Sum {
    let began = Instant::now();
    let mut sum = Sum::default();
    let undisturbed = match Box::pin(play(&ground, "undisturbed", None)).await {
        Ok(facts) => Arc::new(facts),
        Err(why) => {
            sum.trouble.push(format!("undisturbed: {why}"));
            return sum;
        }
    };
    let points: Vec<Point> = undisturbed
        .writes
        .iter()
        .filter(|point| !point.is_renewal())
        .cloned()
        .collect();
    sum.points = points.len();
    println!("kill sweep: {}", places(&points));
    judge("undisturbed", &undisturbed, &undisturbed, &mut sum);
    let mut playing = JoinSet::new();
    let places = Arc::new(Semaphore::new(options.parallel));
    let blows = chosen(&points, options);
    let (all, mut played_so_far) = (blows.len(), 0);
    for (number, blow) in blows.into_iter().enumerate() {
        let (ground, places) = (Arc::clone(&ground), Arc::clone(&places));
        playing.spawn(async move {
            let _place = places.acquire_owned().await.expect("nobody closes it");
            let facts = Box::pin(play(&ground, &format!("k{number}"), Some(blow.clone()))).await;
            (blow, facts)
        });
    }
    while let Some(played) = playing.join_next().await {
        match played {
            Ok((blow, Ok(facts))) => judge(&blow.to_string(), &undisturbed, &facts, &mut sum),
            Ok((blow, Err(why))) => {
                sum.kills += 1;
                sum.trouble.push(format!("{blow}: {why}"));
                eprintln!("kill sweep: {blow}: {why}");
            }
            Err(panic) => sum.trouble.push(format!("a case broke off: {panic}")),
        }
        played_so_far += 1;
        if played_so_far % 10 == 0 {
            let seconds = began.elapsed().as_secs();
            println!("kill sweep: {played_so_far} of {all} played in {seconds} s");
        }
    }
    sum.time = began.elapsed();
    sum
}

/// Both sides of each point, or some of them.
fn chosen(points: &[Point], options: &Options) -> Vec<Blow> {
    let both = |point: &Point| {
        [false, true].map(|after| Blow {
            point: point.clone(),
            after,
        })
    };
    let mut blows: Vec<Blow> = points.iter().flat_map(both).collect();
    if let Some(only) = &options.only {
        blows.retain(|blow| blow.to_string().contains(only.as_str()));
    }
    blows.shuffle(&mut StdRng::seed_from_u64(options.seed));
    blows.truncate(blows.len().div_ceil(options.one_of));
    blows
}

fn places(points: &[Point]) -> String {
    let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
    for point in points {
        *counts.entry(point.place).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(place, count)| format!("{count} {place}"))
        .collect();
    counts.join(", ")
}

/// Adds up what came of a case.
fn judge(name: &str, undisturbed: &Facts, facts: &Facts, sum: &mut Sum) {
    let mut trouble = facts.problems.clone();
    trouble.extend(undisturbed.outcome.differences(&facts.outcome));
    let twice: Vec<&String> = facts
        .published
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(name, _)| name)
        .collect();
    if !twice.is_empty() {
        sum.published_twice += u32::try_from(twice.len()).unwrap_or(u32::MAX);
        trouble.push(format!("made twice: {twice:?}"));
    }
    let stray = &facts.outcome.stray;
    if !facts.leftovers.is_empty() || !stray.is_empty() {
        sum.leftovers += facts.leftovers.len() + stray.len();
        trouble.push(format!("left over: {:?} {stray:?}", facts.leftovers));
    }
    let paid_twice = facts.asked_again.saturating_sub(facts.in_flight);
    sum.asked_again += facts.asked_again - paid_twice;
    if paid_twice > 0 {
        sum.paid_twice += paid_twice;
        trouble.push(format!("asked {paid_twice} times too often, of {}", facts.asked));
    }
    if !facts.struck && !std::ptr::eq(undisturbed, facts) {
        sum.missed.push(name.to_owned());
    }
    sum.kills += usize::from(facts.struck);
    sum.gave_up += facts.gave_up;
    if trouble.is_empty() {
        sum.converged += usize::from(facts.struck);
    } else {
        let text = format!("{name}: {}", trouble.join("; "));
        // At once: the whole takes long.
        eprintln!("kill sweep: {text}");
        sum.trouble.push(text);
    }
}
