//! The runs that are under way in this process: one task each, beside the controllers, started and observed by them
//! and never waited for.
//!
//! What a session learns, it keeps until somebody has written it down: an end stays here until it is in a status. It
//! must not know Kubernetes, nor why a run is due.

mod progress;
pub mod queue;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, info_span};

pub use self::progress::{Progress, Stage};
use self::queue::{Place, Queue};
pub use self::session::{
    Assignment, CleanUp, Ended, MakeSandboxes, OwnStore, SandboxNews, StoreAt, Tell, Trouble,
};
use crate::runtime::metrics::Metrics;
use crate::runtime::metrics::labels::RunOutcome;

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The Catalog's UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// Why a session has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its author has suspended it.
    Suspended,
    /// Something else is asked for now.
    Replaced,
    /// The Catalog is gone.
    Deleted,
    /// It has been at it for longer than it may.
    Overdue,
}

/// What is seen of a session.
#[derive(Debug, Clone, Default)]
pub enum View {
    /// There is none.
    #[default]
    Absent,
    /// It is under way.
    Running {
        /// What it is at.
        progress: Progress,
        /// For how long.
        elapsed: Duration,
        /// Whether it was told to stop, and why.
        stopping: Option<Stop>,
    },
    /// It has ended, and nobody has written that down yet.
    Over {
        /// What it was at.
        progress: Progress,
        /// How it ended.
        ended: Arc<Ended>,
        /// Whether it was told to stop, and why.
        stopped: Option<Stop>,
    },
}

struct Entry {
    key: Key,
    began: Instant,
    progress: Arc<Mutex<Progress>>,
    cancel: CancellationToken,
    stop: Option<Stop>,
    /// How it ended, and after what time.
    ended: Option<(Arc<Ended>, Duration)>,
}

struct Inner {
    entries: Mutex<BTreeMap<String, Entry>>,
    queue: Mutex<Queue<Key>>,
    /// Says who should be looked at.
    look: UnboundedSender<Key>,
    hand_over: CancellationToken,
    tasks: TaskTracker,
    metrics: Metrics,
}

/// The sessions of this process. Clones are the same.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sessions")
    }
}

/// What a thread that panicked has left is still right: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// At most so many at once. The receiver hears whose Catalog should be looked at.
    pub fn new(most: usize, metrics: Metrics) -> (Self, UnboundedReceiver<Key>) {
        let (look, looks) = unbounded_channel();
        let inner = Inner {
            entries: Mutex::default(),
            queue: Mutex::new(Queue::new(most)),
            look,
            hand_over: CancellationToken::new(),
            tasks: TaskTracker::new(),
            metrics,
        };
        (Self(Arc::new(inner)), looks)
    }

    /// What is seen of the session of a Catalog.
    pub fn view(&self, uid: &str) -> View {
        let entries = lock(&self.0.entries);
        let Some(entry) = entries.get(uid) else {
            return View::Absent;
        };
        let progress = lock(&entry.progress).clone();
        match &entry.ended {
            None => View::Running {
                progress,
                elapsed: entry.began.elapsed(),
                stopping: entry.stop,
            },
            Some((ended, _)) => View::Over {
                progress,
                ended: Arc::clone(ended),
                stopped: entry.stop,
            },
        }
    }

    /// Asks for a place among those that run at once. `first`: it was under way before.
    pub fn ask(&self, key: &Key, first: bool) -> Place {
        if self.0.hand_over.is_cancelled() {
            return Place::Waiting { position: 1, of: 1 };
        }
        let place = lock(&self.0.queue).ask(key, &key.namespace, first);
        self.measure();
        place
    }

    /// Gives a place back that is of no use now.
    pub fn leave(&self, key: &Key) {
        let next = lock(&self.0.queue).leave(key);
        // While all is handed over, nothing begins here.
        for key in next.into_iter().filter(|_| !self.is_handing_over()) {
            self.look_at(key);
        }
        self.measure();
    }

    /// Begins a session. There must be none of this Catalog.
    pub fn start(&self, assignment: Assignment) {
        let key = assignment.key.clone();
        let progress = Arc::new(Mutex::new(Progress::of(&assignment)));
        let cancel = CancellationToken::new();
        let hand_over = self.0.hand_over.child_token();
        {
            let mut entries = lock(&self.0.entries);
            if entries.contains_key(&key.uid) {
                tracing::error!(catalog = %key, "a second session was asked for: a defect");
                return;
            }
            let entry = Entry {
                key: key.clone(),
                began: Instant::now(),
                progress: Arc::clone(&progress),
                cancel: cancel.clone(),
                stop: None,
                ended: None,
            };
            entries.insert(key.uid.clone(), entry);
        }
        let sessions = self.clone();
        let look = {
            let (sender, key) = (self.0.look.clone(), key.clone());
            // Nobody hears it any more when all ends.
            move || drop(sender.send(key.clone()))
        };
        let tokens = session::Tokens { cancel, hand_over };
        let observer = Arc::new(self.0.metrics.run_observer());
        let span = info_span!("run", catalog = %key, run = tracing::field::Empty);
        let driven = Box::pin(session::drive(
            assignment,
            tokens,
            progress,
            session::Heard {
                observer: Arc::clone(&observer),
                span: span.clone(),
            },
            look,
        ));
        let task = async move {
            let began = Instant::now();
            // A defect in one run must not take the others with it.
            let ended = AssertUnwindSafe(driven).catch_unwind().await;
            let ended = ended.unwrap_or_else(|_| Ended::broken());
            observer.over();
            sessions.over(&key, ended, began.elapsed());
        };
        self.0.tasks.spawn(task.instrument(span));
    }

    fn over(&self, key: &Key, ended: Ended, took: Duration) {
        tracing::info!(end = ended.word(), "a session has ended");
        let nobody = {
            let mut entries = lock(&self.0.entries);
            let Some(entry) = entries.get_mut(&key.uid) else {
                return;
            };
            let nobody = match (&ended, entry.stop) {
                // Nothing is to be written: whoever leads next goes on from what the status says.
                (Ended::HandedOver, _) => Some(RunOutcome::HandedOver),
                // There is nobody any more who could write it down.
                (_, Some(Stop::Deleted)) => Some(RunOutcome::Deleted),
                _ => None,
            };
            entry.ended = Some((Arc::new(ended), took));
            nobody
        };
        match nobody {
            Some(outcome) => self.forget(key, outcome),
            None => self.look_at(key.clone()),
        }
    }

    /// Tells a session to stop, and to take its sandbox with it. Why it was told first counts, unless its Catalog has
    /// gone since: nobody waits for its end then.
    pub fn stop(&self, uid: &str, why: Stop) {
        let mut entries = lock(&self.0.entries);
        if let Some(entry) = entries.get_mut(uid)
            && (entry.stop.is_none() || why == Stop::Deleted)
            && entry.ended.is_none()
        {
            tracing::info!(catalog = %entry.key, ?why, "a session is told to stop");
            entry.stop = Some(why);
            entry.cancel.cancel();
        }
    }

    /// The end of a session is written down, or nobody can: it is counted, and nothing of it has to be kept.
    pub fn forget(&self, key: &Key, outcome: RunOutcome) {
        let gone = lock(&self.0.entries).remove(&key.uid);
        if let Some((_, took)) = gone.and_then(|entry| entry.ended) {
            self.0.metrics.run_ended(outcome, Some(took));
        }
        self.leave(key);
    }

    /// The Catalog is gone: so is its session, as soon as it has cleaned up.
    pub fn abandon(&self, key: &Key) {
        self.drop_when_over(key, Stop::Deleted, RunOutcome::Deleted);
    }

    /// Nobody can tell what the Catalog asks for: its session ends, and makes room for others.
    pub fn give_up(&self, key: &Key) {
        self.drop_when_over(key, Stop::Replaced, RunOutcome::Replaced);
    }

    fn drop_when_over(&self, key: &Key, why: Stop, outcome: RunOutcome) {
        self.stop(&key.uid, why);
        if !matches!(self.view(&key.uid), View::Running { .. }) {
            self.forget(key, outcome);
        }
    }

    /// Whose sessions there are, and who has a place or waits for one.
    pub fn keys(&self) -> BTreeSet<Key> {
        let mut keys: BTreeSet<Key> = lock(&self.0.queue).keys().cloned().collect();
        keys.extend(lock(&self.0.entries).values().map(|entry| entry.key.clone()));
        keys
    }

    /// Has all sessions stop where others can go on, and waits for that, but no longer than this.
    pub async fn hand_over(&self, grace: Duration) {
        self.0.hand_over.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(
                runs = self.0.tasks.len(),
                "runs are left in the middle of a step; their journals say where"
            );
        }
    }

    /// Whether this process takes no more runs.
    pub fn is_handing_over(&self) -> bool {
        self.0.hand_over.is_cancelled()
    }

    /// Has a Catalog looked at.
    pub fn look_at(&self, key: Key) {
        // Nobody hears it any more when all ends.
        let _ = self.0.look.send(key);
    }

    fn measure(&self) {
        let queue = lock(&self.0.queue);
        self.0.metrics.queued(queue.waiting());
    }
}
