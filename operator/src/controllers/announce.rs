//! Events of Kubernetes: told beside everything else, and never waited for.
//!
//! Must not know what is told.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube_runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;
use tracing::debug;

use super::ANSWER;

/// So many events may wait; more than that nobody would read.
const QUEUE: usize = 1000;
/// How many bytes of a message the API server takes.
const NOTE: usize = 1024;

/// Something to tell of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Whether something is wrong.
    pub warning: bool,
    /// For machines.
    pub reason: String,
    /// What was done, in a word.
    pub action: String,
    /// For people. Of what is too long for an event the begin is told.
    pub message: String,
}

/// Tells people of what happens.
#[derive(Debug, Clone)]
pub struct Announcer(Sender<(ObjectReference, Announcement)>);

impl Announcer {
    /// As this instance of the operator.
    pub fn new(client: Client, instance: String) -> Self {
        let (sender, mut receiver) = channel::<(ObjectReference, Announcement)>(QUEUE);
        let recorder = Recorder::new(
            client,
            Reporter {
                controller: "cataloger.dev/operator".to_owned(),
                instance: Some(instance),
            },
        );
        tokio::spawn(async move {
            while let Some((object, told)) = receiver.recv().await {
                let event = Event {
                    type_: if told.warning {
                        EventType::Warning
                    } else {
                        EventType::Normal
                    },
                    reason: told.reason,
                    note: Some(note(told.message)),
                    action: told.action,
                    secondary: None,
                };
                // Only words: what holds is in the status.
                match timeout(ANSWER, recorder.publish(&event, &object)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => debug!(%error, "an event could not be told"),
                    Err(_) => debug!("an event could not be told in time"),
                }
            }
        });
        Self(sender)
    }

    /// Tells it, in its turn.
    pub fn tell(&self, object: ObjectReference, told: Announcement) {
        if self.0.try_send((object, told)).is_err() {
            debug!("too many events wait; one is not told");
        }
    }
}

/// As much of a message as fits.
fn note(message: String) -> String {
    const CUT: &str = "…";
    if message.len() <= NOTE {
        return message;
    }
    let end = message.floor_char_boundary(NOTE - CUT.len());
    format!("{}{CUT}", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_by_bytes() {
        assert_eq!(note("a".repeat(NOTE)), "a".repeat(NOTE));
        for letter in ["a", "ж", "表", "🦀"] {
            let cut = note(letter.repeat(NOTE + 1));
            assert!(
                cut.len() <= NOTE && cut.len() > NOTE - 8,
                "{letter}: {}",
                cut.len()
            );
            assert!(cut.ends_with(&format!("{letter}…")));
        }
    }
}
