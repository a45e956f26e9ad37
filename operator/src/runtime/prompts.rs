//! Prompts that are mounted from a ConfigMap, and change while the operator runs.
//!
//! It must not know what prompts say: it looks whether they have changed, has them checked, and keeps the last
//! good ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::metrics::Metrics;
use super::metrics::labels::ReloadOutcome;
use crate::agent::prompts::{PromptError, PromptFiles, Prompts};

/// How often it is looked at them. The kubelet itself takes a minute to pass a change on.
pub const EVERY: Duration = Duration::from_secs(5);

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The prompts that are in use now.
#[derive(Debug)]
pub struct Mounted {
    now: watch::Sender<Arc<Prompts>>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// What was seen in the directory: the hash of it, or why it can't be read.
type Seen = Result<String, PromptError>;

impl Mounted {
    /// Those in the binary, which never change.
    pub fn built_in() -> Result<Self, PromptError> {
        Ok(Self {
            now: watch::Sender::new(Arc::new(Prompts::embedded()?)),
            _task: None,
        })
    }

    /// Those of a directory, which is looked at again and again for as long as this lives; those in the binary as
    /// long as it holds none. Fails if they are not right to begin with; what is wrong with them later, `tell` hears
    /// once.
    pub async fn watch(
        directory: PathBuf,
        every: Duration,
        metrics: Metrics,
        tell: impl Fn(&PromptError) + Send + Sync + 'static,
    ) -> Result<Self, PromptError> {
        let (mut seen, prompts) = look(&directory).await.unwrap_or_else(|| {
            let error = PromptError::Unreadable {
                path: directory.clone(),
                message: format!("no answer within {} s", PATIENCE.as_secs()),
            };
            (Err(error.clone()), Err(error))
        });
        let now = watch::Sender::new(Arc::new(prompts?));
        let sender = now.clone();
        let task = async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first comes at once.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let Some((now, prompts)) = look(&directory).await else {
                    warn!(directory = %directory.display(), "the mounted prompts could not be looked at in time");
                    continue;
                };
                if now == seen {
                    continue;
                }
                seen = now;
                match prompts {
                    Ok(prompts) => {
                        if replace(&sender, prompts) {
                            info!(directory = %directory.display(), "the mounted prompts have changed");
                            metrics.prompts_reloaded(ReloadOutcome::Replaced);
                        }
                    }
                    Err(error) => {
                        warn!(%error, "the mounted prompts are broken; the last good ones stay in use");
                        metrics.prompts_reloaded(ReloadOutcome::Refused);
                        tell(&error);
                    }
                }
            }
        };
        Ok(Self {
            now,
            _task: Some(AbortOnDropHandle::new(tokio::spawn(task))),
        })
    }

    /// The last good ones.
    pub fn now(&self) -> Arc<Prompts> {
        Arc::clone(&self.now.borrow())
    }

    /// Hears of changes.
    pub fn changes(&self) -> watch::Receiver<Arc<Prompts>> {
        self.now.subscribe()
    }
}

/// Whether they are other ones than before.
fn replace(now: &watch::Sender<Arc<Prompts>>, prompts: Prompts) -> bool {
    now.send_if_modified(|now| {
        let changed = **now != prompts;
        if changed {
            *now = Arc::new(prompts);
        }
        changed
    })
}

/// What is there now; nothing if that can't be said in time.
async fn look(directory: &Path) -> Option<(Seen, Result<Prompts, PromptError>)> {
    let directory = directory.to_owned();
    timeout(PATIENCE, spawn_blocking(move || read(&directory)))
        .await
        .ok()?
        .ok()
}

fn read(directory: &Path) -> (Seen, Result<Prompts, PromptError>) {
    match PromptFiles::read(directory) {
        Ok(files) => {
            let prompts = match files.prompts() {
                Err(PromptError::Empty { .. }) => Prompts::embedded(),
                other => other,
            };
            (Ok(files.sha256()), prompts)
        }
        Err(error) => (Err(error.clone()), Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc;

    use super::super::metrics::tests::has;
    use super::*;
    use crate::agent::prompts::Role;

    /// Prompts as they are in the binary, with a word more.
    fn own(word: &str) -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../prompts/cataloging.yaml");
        format!("{}  {word}\n", fs::read_to_string(path).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn good_ones_replace_the_old_and_broken_ones_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cataloging.yaml");
        // In one step, as the kubelet does it.
        let put = |text: &[u8]| {
            let new = directory.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &file).unwrap();
        };
        let metrics = Metrics::new();
        let (told, mut errors) = mpsc::unbounded_channel();
        let mounted = Mounted::watch(
            directory.path().to_owned(),
            EVERY,
            metrics.clone(),
            move |error| {
                drop(told.send(error.clone()));
            },
        )
        .await
        .unwrap();
        let mut changes = mounted.changes();
        assert_eq!(*mounted.now(), Prompts::embedded().unwrap());

        put(own("First.").as_bytes());
        changes.changed().await.unwrap();
        let first = mounted.now();
        assert!(first.custom_sha256().is_some());

        put(b"id: [");
        assert!(matches!(errors.recv().await, Some(PromptError::Invalid { .. })));
        // Another text that is broken in the same way is told too.
        put(b"id: [ ");
        assert!(matches!(errors.recv().await, Some(PromptError::Invalid { .. })));
        // Not text at all.
        put(b"\xff");
        assert!(matches!(
            errors.recv().await,
            Some(PromptError::Unreadable { .. })
        ));
        assert_eq!(mounted.now(), first);
        tokio::time::advance(EVERY * 20).await;
        assert!(errors.is_empty());

        // As it was: mended, and nothing new.
        put(own("First.").as_bytes());
        tokio::time::advance(EVERY * 2).await;
        put(own("Second.").as_bytes());
        changes.changed().await.unwrap();
        assert_ne!(mounted.now(), first);
        assert_eq!(mounted.now(), *changes.borrow());

        fs::remove_file(&file).unwrap();
        changes.changed().await.unwrap();
        let embedded = Prompts::embedded().unwrap();
        assert_eq!(
            mounted.now().get(Role::Cataloging),
            embedded.get(Role::Cataloging)
        );
        assert!(has(
            &metrics,
            "cataloger_prompts_reloads_total{outcome=\"replaced\"} 3"
        ));
        assert!(has(
            &metrics,
            "cataloger_prompts_reloads_total{outcome=\"refused\"} 3"
        ));
    }

    #[tokio::test]
    async fn broken_ones_are_no_begin() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("sumary.yaml"), own("x")).unwrap();
        let watch = |path: PathBuf| Mounted::watch(path, EVERY, Metrics::new(), |_| {});
        let broken = watch(directory.path().to_owned()).await;
        assert!(matches!(broken, Err(PromptError::Foreign { .. })));
        let nowhere = watch(directory.path().join("nowhere")).await;
        assert!(matches!(nowhere, Err(PromptError::Unreadable { .. })));
        assert_eq!(*Mounted::built_in().unwrap().now(), Prompts::embedded().unwrap());
    }
}
