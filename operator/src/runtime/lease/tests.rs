//! Candidates and holders against an API server that is made up here, over calls that are late, lost or refused.
//!
//! Time is paused: whatever waits, waits for nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::time::advance;

use super::*;

/// What becomes of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mood {
    #[default]
    Well,
    /// Calls fail.
    Down,
    /// Calls are never answered, and change nothing.
    Silent,
    /// The next write is done, and its answer lost.
    LosesNextAnswer,
    /// Nobody may do anything.
    Strict,
    /// There is no such namespace.
    Homeless,
}

#[derive(Default)]
struct World {
    lease: Option<Lease>,
    version: u64,
    writes: u32,
}

/// The API server, as one replica reaches it.
#[derive(Clone, Default)]
struct Server {
    world: Arc<Mutex<World>>,
    mood: Arc<Mutex<Mood>>,
}

impl Server {
    /// As another replica reaches it.
    fn other(&self) -> Self {
        Self {
            world: Arc::clone(&self.world),
            mood: Arc::default(),
        }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn lease(&self) -> Option<Lease> {
        self.world.lock().unwrap().lease.clone()
    }

    fn holder(&self) -> Option<String> {
        self.lease()?.spec?.holder_identity
    }

    fn transitions(&self) -> i32 {
        self.lease().unwrap().spec.unwrap().lease_transitions.unwrap()
    }

    fn delete(&self) {
        self.world.lock().unwrap().lease = None;
    }

    fn edit(&self, edit: impl FnOnce(&mut LeaseSpec)) {
        let mut world = self.world.lock().unwrap();
        world.version += 1;
        let version = world.version;
        let lease = world.lease.as_mut().unwrap();
        lease.metadata.resource_version = Some(version.to_string());
        edit(lease.spec.as_mut().unwrap());
    }

    async fn answer<T>(&self, act: impl FnOnce(&mut World) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => act(&mut self.world.lock().unwrap()),
            Mood::Down => Err(Refusal::Failed("it is down".into())),
            Mood::Strict => Err(Refusal::Forbidden("leases are not for you".into())),
            Mood::Homeless => Err(Refusal::Missing),
            Mood::Silent => std::future::pending().await,
            Mood::LosesNextAnswer => {
                self.is(Mood::Well);
                drop(act(&mut self.world.lock().unwrap()));
                std::future::pending().await
            }
        }
    }
}

impl World {
    fn put(&mut self, lease: &Lease) -> Lease {
        self.version += 1;
        self.writes += 1;
        let mut lease = lease.clone();
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }
}

#[async_trait]
impl Calls for Server {
    async fn get(&self) -> Result<Lease, Refusal> {
        if *self.mood.lock().unwrap() == Mood::LosesNextAnswer {
            return self.lease().ok_or(Refusal::Missing);
        }
        self.answer(|world| world.lease.clone().ok_or(Refusal::Missing))
            .await
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, Refusal> {
        assert_eq!(
            lease.metadata.resource_version, None,
            "one that is new has no version"
        );
        self.answer(|world| match world.lease {
            Some(_) => Err(Refusal::Conflict),
            None => Ok(world.put(lease)),
        })
        .await
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Refusal> {
        let version = lease.metadata.resource_version.clone();
        assert!(version.is_some(), "without a version anything is overwritten");
        self.answer(|world| match &world.lease {
            None => Err(Refusal::Missing),
            Some(there) if there.metadata.resource_version != version => Err(Refusal::Conflict),
            Some(_) => Ok(world.put(lease)),
        })
        .await
    }
}

/// What the times of these tests are reckoned from.
const LASTS: Duration = Duration::from_secs(15);

fn options(identity: &str) -> LeaseOptions {
    LeaseOptions::new("system", "cataloger", identity).lasting(LASTS)
}

async fn lead(server: &Server, identity: &str) -> Leadership {
    let never = CancellationToken::new();
    acquire_by(server.clone(), &options(identity), &never, &|| {})
        .await
        .unwrap()
        .unwrap()
}

/// How long the future took.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let result = future.await;
    (result, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn the_first_one_leads_and_goes_on() {
    let server = Server::default();
    let leader = lead(&server, "a").await;
    assert_eq!((leader.epoch(), server.transitions()), (1, 0));
    assert!(server.holder().unwrap() == "a");
    let first = server.lease().unwrap().spec.unwrap();
    assert_eq!(first.lease_duration_seconds, Some(15));
    sleep(Duration::from_hours(1)).await;
    assert!(leader.is_held_now() && !leader.lost().is_cancelled());
    let later = server.lease().unwrap().spec.unwrap();
    assert_eq!(later.acquire_time, first.acquire_time);
    assert_eq!(later.lease_transitions, Some(0));
    // Every five seconds, and no more.
    let writes = server.world.lock().unwrap().writes;
    assert!((720..=721).contains(&writes), "{writes}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_given_back_is_taken_within_a_second() {
    let server = Server::default();
    let first = lead(&server, "a").await;
    let other = server.other();
    let second = tokio::spawn(async move { lead(&other, "b").await });
    sleep(Duration::from_mins(1)).await;
    assert!(!second.is_finished());
    let (lost, holding) = (first.lost(), first.holding());
    first.release().await.unwrap();
    assert!(lost.is_cancelled() && !holding.is_held_now());
    assert_eq!(server.holder(), None);
    let (second, took) = timed(second).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let second = second.unwrap();
    assert_eq!((second.epoch(), server.transitions()), (2, 1));
    assert!(server.holder().unwrap() == "b");
}

#[tokio::test(start_paused = true)]
async fn one_whose_holder_is_gone_is_taken_once_it_is_over() {
    let server = Server::default();
    let first = lead(&server, "a").await;
    let other = server.other();
    let second = tokio::spawn(async move { lead(&other, "b").await });
    // In the middle between two renewals.
    sleep(Duration::from_millis(62_500)).await;
    let (lost, holding) = (first.lost(), first.holding());
    drop(first);
    assert!(lost.is_cancelled() && !holding.is_held_now());
    let (second, took) = timed(second).await;
    assert!(
        took > Duration::from_secs(12) && took < Duration::from_secs(14),
        "{took:?}"
    );
    assert_eq!(second.unwrap().epoch(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_replica_goes_on_at_once_after_a_crash_as_another_leader() {
    let server = Server::default();
    drop(lead(&server, "a").await);
    let (again, took) = timed(lead(&server, "a")).await;
    assert!(took.is_zero(), "{took:?}");
    assert_eq!(again.epoch(), 2);
    // Two of one name, as there must never be: the earlier one learns of it.
    let third = lead(&server.other(), "a").await;
    sleep(Duration::from_secs(6)).await;
    assert!(!again.is_held_now() && third.is_held_now());
}

#[tokio::test(start_paused = true)]
async fn a_holder_gives_up_before_another_one_may_take_it() {
    for mood in [Mood::Down, Mood::Silent, Mood::Strict] {
        let server = Server::default();
        let leader = lead(&server, "a").await;
        let other = server.other();
        let second = tokio::spawn(async move {
            let second = lead(&other, "b").await;
            (second, Instant::now())
        });
        sleep(Duration::from_secs(61)).await;
        server.is(mood);
        let lost = leader.lost();
        let ((), took) = timed(lost.cancelled()).await;
        let gave_up = Instant::now();
        assert!(!leader.is_held_now());
        // The last renewal was at 60 s.
        assert_eq!(took.as_secs(), 9, "{mood:?}: {took:?}");
        let (second, taken) = second.await.unwrap();
        assert!(taken > gave_up + Duration::from_secs(4), "{mood:?}");
        assert_eq!(second.epoch(), 2);
        // The first comes back, and changes nothing.
        server.is(Mood::Well);
        leader.release().await.unwrap();
        sleep(Duration::from_mins(1)).await;
        assert!(second.is_held_now() && server.holder().unwrap() == "b");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_costs_nothing() {
    let server = Server::default();
    let leader = lead(&server, "a").await;
    for mood in [Mood::Down, Mood::Silent] {
        // Right after a renewal, or a second later.
        sleep(Duration::from_secs(61)).await;
        server.is(mood);
        // One call fails, or is not answered in its time; the next one is in time for the deadline.
        sleep(Duration::from_secs(7)).await;
        server.is(Mood::Well);
    }
    sleep(Duration::from_mins(1)).await;
    assert!(leader.is_held_now());
    assert_eq!(server.transitions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_knows_that_at_once() {
    let server = Server::default();
    let leader = lead(&server, "a").await;
    let holding = leader.holding();
    sleep(Duration::from_secs(61)).await;
    // Nothing of it runs meanwhile.
    let stopped = async {
        let paused = Instant::now();
        let mut advanced = std::pin::pin!(advance(Duration::from_secs(20)));
        // The clock is on before anything else is polled.
        assert_eq!(advanced.as_mut().now_or_never(), None);
        assert!(paused.elapsed() >= Duration::from_secs(20));
        assert!(!holding.is_held_now());
        advanced.await;
    };
    stopped.await;
    leader.lost().cancelled().await;
    let writes = server.world.lock().unwrap().writes;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(server.world.lock().unwrap().writes, writes, "it went on renewing");
}

#[tokio::test(start_paused = true)]
async fn answers_may_be_lost() {
    let server = Server::default();
    // Of the one that makes it,
    server.is(Mood::LosesNextAnswer);
    let leader = lead(&server, "a").await;
    assert_eq!((leader.epoch(), server.transitions()), (2, 1));
    // of those that renew it,
    for _ in 0..10 {
        sleep(Duration::from_secs(10)).await;
        server.is(Mood::LosesNextAnswer);
    }
    sleep(Duration::from_mins(1)).await;
    assert!(leader.is_held_now());
    // of the one that gives it back (the next one need not wait),
    server.is(Mood::LosesNextAnswer);
    let error = leader.release().await.unwrap_err();
    assert!(error.to_string().contains("no answer within 3000 ms"), "{error}");
    // and of the one that takes it.
    server.is(Mood::LosesNextAnswer);
    let (next, took) = timed(lead(&server, "b")).await;
    assert_eq!((next.epoch(), server.transitions()), (4, 3));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_taken_away_is_lost() {
    let server = Server::default();
    let leader = lead(&server, "a").await;
    server.edit(|spec| {
        spec.holder_identity = Some("somebody".into());
        spec.lease_transitions = Some(9);
    });
    let ((), took) = timed(leader.lost().cancelled_owned()).await;
    assert!(took <= Duration::from_secs(5), "{took:?}");
    // What is another's is not given back.
    leader.release().await.unwrap();
    assert_eq!(server.holder().as_deref(), Some("somebody"));
    // Who only touches it takes nothing.
    let next = lead(&server, "b").await;
    assert_eq!(next.epoch(), 11);
    for _ in 0..10 {
        sleep(Duration::from_secs(7)).await;
        server.edit(|_| {});
    }
    assert!(next.is_held_now());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_deleted_is_made_again_by_its_holder() {
    let server = Server::default();
    drop(lead(&server, "a").await);
    let leader = lead(&server, "b").await;
    let other = server.other();
    let waiting = tokio::spawn(async move { lead(&other, "c").await });
    sleep(Duration::from_secs(61)).await;
    for _ in 0..3 {
        server.delete();
        sleep(Duration::from_secs(10)).await;
        assert!(server.holder().unwrap() == "b");
        assert_eq!(server.transitions(), 1);
    }
    assert!(leader.is_held_now() && !waiting.is_finished());
    server.delete();
    leader.release().await.unwrap();
    // It makes it once the one that it has seen is over; epochs go on.
    assert_eq!(waiting.await.unwrap().epoch(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_many_exactly_one_leads() {
    let server = Server::default();
    let leads = Arc::new(AtomicBool::new(false));
    let mut replicas = tokio::task::JoinSet::new();
    for replica in 0..8 {
        let (server, leads) = (server.other(), Arc::clone(&leads));
        replicas.spawn(async move {
            let leader = lead(&server, &format!("r{replica}")).await;
            assert!(!leads.swap(true, Ordering::SeqCst), "two lead");
            sleep(Duration::from_secs(20)).await;
            assert!(leader.is_held_now());
            leads.store(false, Ordering::SeqCst);
            let epoch = leader.epoch();
            if epoch.is_multiple_of(2) {
                leader.release().await.unwrap();
            } else {
                drop(leader);
            }
            epoch
        });
    }
    let mut epochs = replicas.join_all().await;
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_can_be_stopped() {
    let server = Server::default();
    let _leader = lead(&server, "a").await;
    let stop = CancellationToken::new();
    let (other, stopped) = (server.other(), stop.clone());
    let waiting = tokio::spawn(async move { acquire_by(other, &options("b"), &stopped, &|| {}).await });
    sleep(Duration::from_secs(10)).await;
    stop.cancel();
    let (result, took) = timed(waiting).await;
    assert!(matches!(result.unwrap(), Ok(None)) && took.is_zero());
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_after_the_stop_is_given_back() {
    let server = Server::default();
    server.is(Mood::LosesNextAnswer);
    let stop = CancellationToken::new();
    let (mine, stopped) = (server.clone(), stop.clone());
    let waiting = tokio::spawn(async move { acquire_by(mine, &options("a"), &stopped, &|| {}).await });
    sleep(Duration::from_secs(2)).await;
    stop.cancel();
    assert!(matches!(waiting.await.unwrap(), Ok(None)));
    // It can't be known that it was ours: whoever comes waits.
    assert!(server.holder().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_waiting_can_not_mend_is_told() {
    let never = CancellationToken::new();
    let server = Server::default();
    let try_it = async |options: &LeaseOptions| {
        acquire_by(server.clone(), options, &never, &|| {})
            .await
            .unwrap_err()
    };
    server.is(Mood::Strict);
    assert_eq!(
        try_it(&options("a")).await.to_string(),
        "the operator may not use the lease system/cataloger (leases are not for you): give it the role that it is \
         installed with"
    );
    server.is(Mood::Homeless);
    assert!(matches!(
        try_it(&options("a")).await,
        LeaseError::NoNamespace { .. }
    ));
    for wrong in [
        options(""),
        options("a").lasting(Duration::from_millis(999)),
        LeaseOptions {
            renew: Duration::ZERO,
            ..options("a")
        },
        LeaseOptions {
            renew: Duration::from_secs(10),
            ..options("a")
        },
    ] {
        assert!(
            matches!(try_it(&wrong).await, LeaseError::Options { .. }),
            "{wrong:?}"
        );
    }
}
