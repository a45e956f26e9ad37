//! What goes wrong between an operator and its surroundings: proxies before bucket, API server and models that name
//! all that is asked, count the writes, and do to each what a test decides.
//!
//! ```no_run
//! # async fn example(config: &kube::Config) {
//! use cataloger_tests::faults::{Act, Moment, Place, Points, Proxy};
//! // Each status is written, but the operator does not hear of it.
//! let points = Points::new(|seen| match (seen.point.what.as_str(), seen.moment) {
//!     ("PATCH catalogs/status", Moment::After { .. }) => Act::Cut,
//!     _ => Act::Pass,
//! });
//! let api = Proxy::api(config, &points).await;
//! // An operator whose KUBECONFIG is `api.kubeconfig()` …
//! api.sever(); // All that is open breaks, watches and streams to sandboxes too.
//! # }
//! ```
//!
//! The stream to a sandbox is an exec: it goes over the API server's proxy, which reads the frames in it. Must not know
//! what an operator does with an answer.

mod exec;
mod names;
mod proxy;
mod victim;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

pub use proxy::Proxy;
pub use victim::Victim;

/// What an operator talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The bucket.
    Bucket,
    /// The API server.
    Api,
    /// A provider of models.
    Model,
    /// The daemon in a sandbox.
    Sandbox,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bucket => "bucket",
            Self::Api => "api",
            Self::Model => "model",
            Self::Sandbox => "sandbox",
        })
    }
}

/// Something that is asked. The same run asks for the same, by the same names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Whom.
    pub place: Place,
    /// What: without names that differ from run to run.
    pub what: String,
    /// The how manieth of this name, from 1.
    pub number: u32,
    /// Whether something is different after it.
    pub writes: bool,
}

impl Point {
    /// Whether it only says that the leader is still there: how many of those there are is a matter of time.
    pub fn is_renewal(&self) -> bool {
        self.place == Place::Api && self.what == "PUT leases" && self.number > 1
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} #{}", self.place, self.what, self.number)
    }
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// It was not passed on yet.
    Before,
    /// It is done, and whoever asked has not heard of it.
    After {
        /// The answer's status, where there is such a thing.
        status: Option<u16>,
    },
}

/// What is seen of a point at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What is asked.
    pub point: &'a Point,
    /// When.
    pub moment: Moment,
    /// Of what: a path of a URL; a sandbox has none.
    pub path: &'a str,
    /// What is sent with it.
    pub body: &'a Bytes,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Pass,
    /// The connection breaks: what comes before is not passed on, what was done is not told.
    Cut,
    /// It is answered by this status. To a sandbox that is a cut.
    Answer(u16),
    /// It has to wait so long.
    Wait(Duration),
}

type Judge = Box<dyn Fn(Seen<'_>) -> Act + Send + Sync>;

#[derive(Default)]
struct Log {
    numbers: BTreeMap<(Place, String), u32>,
    writes: Vec<Point>,
}

/// All that was asked by way of some proxies, and who decides what is done to it. Clones are the same.
#[derive(Clone)]
pub struct Points {
    log: Arc<Mutex<Log>>,
    judge: Arc<Judge>,
}

impl fmt::Debug for Points {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Points")
    }
}

impl Points {
    /// Whose fate is decided so. Who decides is called from many tasks, and must not wait.
    pub fn new(judge: impl Fn(Seen<'_>) -> Act + Send + Sync + 'static) -> Self {
        Self {
            log: Arc::default(),
            judge: Arc::new(Box::new(judge)),
        }
    }

    /// To which nothing is done.
    pub fn counted() -> Self {
        Self::new(|_| Act::Pass)
    }

    /// All writes so far, in their order. That they were asked for does not say that they were done.
    pub fn writes(&self) -> Vec<Point> {
        self.log().writes.clone()
    }

    /// What is asked here and now.
    fn ask(&self, place: Place, (what, writes): (String, bool)) -> Point {
        let mut log = self.log();
        let number = log.numbers.entry((place, what.clone())).or_default();
        *number += 1;
        let point = Point {
            place,
            what,
            number: *number,
            writes,
        };
        if writes {
            log.writes.push(point.clone());
        }
        point
    }

    fn judge(&self, point: &Point, moment: Moment, (path, body): (&str, &Bytes)) -> Act {
        (self.judge)(Seen {
            point,
            moment,
            path,
            body,
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
