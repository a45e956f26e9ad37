//! What is asked of the API server for a sandbox: objects made, watched and deleted, each within a time.
//!
//! Must not know what a sandbox is for. Errors of the API become the obstacles that they are.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, watch_object};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tracing::debug;

use super::start::{Progress, judge, warned};
use crate::sandbox::{NotStarted, Obstacle};

/// How long the API server may take to answer. kube itself would try again for a quarter of an hour.
const ANSWER: Duration = Duration::from_secs(20);

/// How often a Pod's events are looked at, while its status says nothing.
const LOOK: Duration = Duration::from_secs(3);

/// How long to wait before the API server is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Who writes what this file applies.
const WRITER: &str = "cataloger-sandbox";

/// How long a Pod may take to start.
#[derive(Debug, Clone)]
pub struct Patience {
    /// In all. A node that is being made for it, or a large image, takes minutes.
    pub start: Duration,
    /// With an image that can't be had.
    pub trouble: Duration,
    /// To disappear, once it was told to. After an outage of the API server a kubelet asks again only up to a
    /// minute after it is back, and has not heard of it until then.
    pub end: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            start: Duration::from_mins(5),
            trouble: Duration::from_mins(1),
            end: Duration::from_mins(2),
        }
    }
}

/// The namespace of sandboxes.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) pods: Api<Pod>,
    policies: Api<NetworkPolicy>,
    events: Api<Event>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cluster")
    }
}

/// What became of an attempt to create a Pod.
pub(super) enum Created {
    /// There is a new one.
    New(Box<Pod>),
    /// There is one of that name already.
    Exists,
}

impl Cluster {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            pods: Api::namespaced(client.clone(), namespace),
            policies: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
        }
    }

    /// The Pod of a name.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Pod>, NotStarted> {
        ask("looking for its Pod", self.pods.get_opt(name)).await
    }

    /// Creates a Pod.
    pub(super) async fn create(&self, pod: &Pod) -> Result<Created, NotStarted> {
        let params = PostParams::default();
        let create = async {
            match self.pods.create(&params, pod).await {
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(Created::Exists),
                created => created.map(|pod| Created::New(Box::new(pod))),
            }
        };
        ask("creating its Pod", create).await
    }

    /// Makes a policy, or makes it what it should be.
    pub(super) async fn apply(&self, policy: &NetworkPolicy) -> Result<(), NotStarted> {
        let name = policy.metadata.name.as_deref().unwrap_or_default();
        let params = PatchParams::apply(WRITER).force();
        let patch = Patch::Apply(policy);
        ask(
            "applying its network policy",
            self.policies.patch(name, &params, &patch),
        )
        .await?;
        Ok(())
    }

    /// Waits until the container of a Pod runs. `tell` hears what is in its way, each time that this changes.
    pub(super) async fn started(
        &self,
        name: &str,
        uid: &str,
        patience: &Patience,
        tell: &(dyn Fn(&NotStarted) + Send + Sync),
    ) -> Result<(), NotStarted> {
        let deadline = Instant::now() + patience.start;
        let mut pods = pin!(watch_object(self.pods.clone(), name).default_backoff());
        let mut looks = interval(LOOK);
        let mut trouble: Option<(Instant, NotStarted)> = None;
        let mut silent: Option<NotStarted> = None;
        loop {
            let until = match &trouble {
                // A node may still be made for it, and a volume be attached; that takes minutes at times.
                Some((_, what))
                    if matches!(what.obstacle, Obstacle::Unschedulable | Obstacle::Unmountable) =>
                {
                    deadline
                }
                Some((since, _)) => deadline.min(*since + patience.trouble),
                None => deadline,
            };
            let found = tokio::select! {
                pod = pods.next() => match pod {
                    Some(Ok(pod)) => {
                        silent = None;
                        match judge(pod.as_ref(), uid) {
                            Progress::Running => return Ok(()),
                            Progress::Failed(why) => return Err(why),
                            Progress::Waiting(what) => what,
                        }
                    }
                    Some(Err(error)) => {
                        let why = watching(error);
                        if why.obstacle == Obstacle::Forbidden {
                            return Err(why);
                        }
                        debug!(name, reason = why.message, "the Pod can't be watched");
                        silent = Some(why);
                        continue;
                    }
                    None => continue,
                },
                _ = looks.tick() => match &trouble {
                    Some((_, what)) if what.obstacle != Obstacle::Unmountable => continue,
                    _ => self.warnings(name, uid).await,
                },
                () = sleep_until(until) => {
                    let slow = || NotStarted {
                        obstacle: Obstacle::Slow,
                        message: format!("it did not run within {} s", patience.start.as_secs()),
                    };
                    let known = trouble.map(|(_, what)| what);
                    return Err(known.or(silent).unwrap_or_else(slow));
                }
            };
            trouble = found.map(|what| {
                // Another obstacle has a time of its own.
                let same = trouble
                    .as_ref()
                    .filter(|(_, known)| known.obstacle == what.obstacle);
                let since = same.map_or_else(Instant::now, |(since, _)| *since);
                if trouble.as_ref().map(|(_, known)| known) != Some(&what) {
                    tell(&what);
                }
                (since, what)
            });
        }
    }

    /// What the events of a Pod say is in its way. Nothing, if they can't be had: they are only words.
    async fn warnings(&self, name: &str, uid: &str) -> Option<NotStarted> {
        let fields = format!("involvedObject.name={name},involvedObject.uid={uid}");
        let params = ListParams::default().fields(&fields).limit(100);
        match ask("reading its events", self.events.list(&params)).await {
            Ok(events) => warned(&events.items),
            Err(error) => {
                debug!(%error, "no events");
                None
            }
        }
    }

    /// Deletes the Pod of this UID, and waits until it is gone: only then nothing of it runs any more.
    pub(super) async fn remove(&self, name: &str, uid: &str, patience: &Patience) -> Result<(), NotStarted> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let gone = async {
            while let Err(error) = ask("deleting its Pod", self.delete(name, &params)).await {
                if error.obstacle != Obstacle::Unreachable {
                    return Err(error);
                }
                debug!(name, %error, "the Pod can't be deleted yet");
                sleep(AGAIN).await;
            }
            let mut pods = pin!(watch_object(self.pods.clone(), name).default_backoff());
            while let Some(pod) = pods.next().await {
                match pod {
                    Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(uid) => {}
                    Ok(_) => break,
                    Err(error) => debug!(name, %error, "the Pod can't be watched"),
                }
            }
            Ok(())
        };
        let slow = || NotStarted {
            obstacle: Obstacle::Slow,
            message: format!(
                "its Pod {name} was to be deleted, and is still there after {} s",
                patience.end.as_secs()
            ),
        };
        timeout(patience.end, gone).await.unwrap_or_else(|_| Err(slow()))
    }

    async fn delete(&self, name: &str, params: &DeleteParams) -> kube::Result<()> {
        match self.pods.delete(name, params).await {
            // Not there, or another one by now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Deletes the policy of a name.
    pub(super) async fn lift(&self, name: &str) -> Result<(), NotStarted> {
        let delete = async {
            match self.policies.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                deleted => deleted.map(drop),
            }
        };
        ask("deleting its network policy", delete).await
    }

    /// The Pods with these labels.
    pub(super) async fn labelled(&self, selector: &str) -> Result<Vec<Pod>, NotStarted> {
        let params = ListParams::default().labels(selector);
        Ok(ask("listing sandboxes", self.pods.list(&params)).await?.items)
    }

    /// The policies with these labels.
    pub(super) async fn policies(&self, selector: &str) -> Result<Vec<NetworkPolicy>, NotStarted> {
        let params = ListParams::default().labels(selector);
        Ok(ask("listing network policies", self.policies.list(&params))
            .await?
            .items)
    }
}

/// Asks the API server, within a time.
pub(super) async fn ask<T>(
    what: &str,
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<T, NotStarted> {
    match timeout(ANSWER, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(refused(what, error)),
        Err(_) => Err(NotStarted {
            obstacle: Obstacle::Unreachable,
            message: format!(
                "{what}: the API server did not answer within {} s",
                ANSWER.as_secs()
            ),
        }),
    }
}

fn refused(what: &str, error: kube::Error) -> NotStarted {
    match error {
        kube::Error::Api(status) => NotStarted {
            obstacle: obstacle(&status),
            message: format!("{what}: {}", status.message),
        },
        other => NotStarted {
            obstacle: Obstacle::Unreachable,
            message: format!("{what}: {other}"),
        },
    }
}

fn watching(error: watcher::Error) -> NotStarted {
    let what = "watching its Pod";
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => refused(what, error),
        watcher::Error::WatchError(status) => refused(what, kube::Error::Api(status)),
        watcher::Error::NoResourceVersion => NotStarted {
            obstacle: Obstacle::Unreachable,
            message: format!("{what}: the answer has no resource version"),
        },
    }
}

/// What a refusal of the API server means.
fn obstacle(status: &Status) -> Obstacle {
    let said = &status.message;
    match status.code {
        403 if said.contains("exceeded quota") => Obstacle::Quota,
        // An API server that has just started does not know the roles yet that it reads bindings to.
        403 if said.contains("RBAC: ") && said.ends_with("not found") => Obstacle::Unreachable,
        // Of a user, it is about a role; all else that is forbidden, an admission plugin has looked at.
        401 | 403 if said.contains("is forbidden: User ") || status.code == 401 => Obstacle::Forbidden,
        408 | 429 | 500..=599 => Obstacle::Unreachable,
        _ => Obstacle::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_what_is_in_the_way() {
        let cases = [
            (
                403,
                r#"pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"#,
                Obstacle::Quota,
            ),
            (
                403,
                r#"pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged"#,
                Obstacle::Refused,
            ),
            (
                403,
                r#"pods is forbidden: User "system:serviceaccount:a:b" cannot create resource "pods""#,
                Obstacle::Forbidden,
            ),
            (
                403,
                r#"pods "x" is forbidden: User "a" cannot delete resource "pods": RBAC: role.rbac.authorization.k8s.io "b" not found"#,
                Obstacle::Unreachable,
            ),
            (401, "Unauthorized", Obstacle::Forbidden),
            (
                400,
                r#"admission webhook "no.example.com" denied the request: no"#,
                Obstacle::Refused,
            ),
            (404, r#"namespaces "gone" not found"#, Obstacle::Refused),
            (422, "Pod is invalid", Obstacle::Refused),
            (429, "too many requests", Obstacle::Unreachable),
            (503, "apiserver is shutting down", Obstacle::Unreachable),
        ];
        for (code, said, expected) in cases {
            let status = Status::failure(said, "").with_code(code);
            assert_eq!(obstacle(&status), expected, "{code} {said}");
        }
    }
}
