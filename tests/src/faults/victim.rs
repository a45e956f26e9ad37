//! A process that a test ends, stops and goes on with, at a moment that somebody else knows. Must not know what it does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Whoever is hit. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Victim(Arc<Mutex<Life>>);

#[derive(Debug, Default)]
struct Life {
    pid: Option<Pid>,
    kills: u32,
}

impl Victim {
    /// Starts the process: from the first thing that it does on, it can be hit.
    pub fn start(&self, command: &mut Command) -> Child {
        let mut life = self.life();
        let child = command.spawn().expect("it can be started");
        life.pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        child
    }

    /// Ends it at once; whether there was something to end.
    pub fn kill(&self) -> bool {
        let mut life = self.life();
        let Some(pid) = life.pid.take() else {
            return false;
        };
        let killed = kill_process(pid, Signal::KILL).is_ok();
        life.kills += u32::from(killed);
        killed
    }

    /// Sends it a signal that it may survive.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.life().pid {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    /// That its end was waited for: its number may be another's from then on.
    pub fn ended(&self) {
        self.life().pid = None;
    }

    /// How often it was killed.
    pub fn kills(&self) -> u32 {
        self.life().kills
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
