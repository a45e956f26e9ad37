//! Two operators with the lease that users have: one is killed, paused or cut off in the middle of a run, which goes on
//! in the other in less than twenty seconds. The old one writes nothing more, wherever.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cataloger::api::Catalog;
use cataloger_tests::author::{Author, Move};
use cataloger_tests::faults::{Place, Point};
use cataloger_tests::operator::Tenant;
use rustix::process::Signal;
use serde_json::json;

use crate::leaders::paid_once;
use crate::outside::{Ground, Replica, took};
use crate::{WHOLE, slow};

/// As it is installed.
const LEASE: &str = "12s";
/// In which a run goes on.
const SOON: Duration = Duration::from_secs(20);
const NAME: &str = "shop";

/// An author who is at work for long enough that one leader follows the other.
fn author() -> Author {
    let mut author = slow(1);
    let code = (1..=8).map(|turn| Move::Execute(format!("turn_{turn} = {turn}\nturn_{turn}")));
    author.catalog.splice(1..1, code);
    author
}

fn goes_on(point: &Point) -> bool {
    point.place == Place::Bucket && point.what.starts_with("PUT .journal/")
}

/// Two operators, of which the first leads and is in the middle of a run.
async fn two(ground: &Ground) -> (Tenant<'_>, Replica, Replica) {
    let tenant = ground.operator.another_tenant("a").await;
    let first = ground.start(&tenant, "first", LEASE).await;
    ground.leads(&tenant, "first").await;
    let second = ground.start(&tenant, "second", LEASE).await;
    ground.at_work(&tenant, NAME, json!({}), 3).await;
    (tenant, first, second)
}

/// How long it takes until a run goes on in this one, and a model is asked again.
async fn taken_over(ground: &Ground, by: &Replica, what: &str) {
    let asked = async {
        by.asks("go on with the run", goes_on).await;
        // Nobody else asks any more.
        ground.server.asked(ground.server.requests().len() + 1).await;
    };
    let took = took(asked).await;
    println!(
        "after its leader was {what}, a run went on in {:.1} s",
        took.as_secs_f64()
    );
    assert!(took < SOON, "{what}: {took:?}\n{}", by.log());
}

/// That a run came to its end in one piece, and nothing was paid twice but the answer that was on its way.
async fn is_whole(ground: &Ground, tenant: &Tenant<'_>) {
    let catalog: Catalog = tenant.succeeded(NAME).await;
    let status = catalog.status.unwrap();
    assert_eq!((status.history.len(), status.history[0].attempts), (1, 1));
    let run = status.artifacts.unwrap().timestamp;
    let objects = tenant.objects(NAME).await;
    let pages: Vec<&str> = objects
        .iter()
        .filter(|name| !name.starts_with(".journal/"))
        .filter_map(|name| name.strip_prefix(&format!("{run}/")))
        .collect();
    assert_eq!(pages, WHOLE);
    paid_once(&ground.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_goes_on_when_one_is_killed() {
    let Some(ground) = Ground::new("killed-leader", author()).await else {
        return;
    };
    let (tenant, mut first, second) = two(&ground).await;
    first.kill().await;
    taken_over(&ground, &second, "killed").await;
    is_whole(&ground, &tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_paused_writes_nothing_more() {
    let Some(ground) = Ground::new("paused-leader", author()).await else {
        return;
    };
    let (tenant, mut first, second) = two(&ground).await;
    first.signal(Signal::STOP);
    taken_over(&ground, &second, "paused").await;
    let before = first.points.writes();
    // In the middle of the run, whose sandbox both know by now.
    first.signal(Signal::CONT);
    let code = first.ended(Duration::from_secs(10)).await;
    assert_eq!(code, Some(1), "{}", first.log());
    assert!(first.log().contains("the lease was lost"), "{}", first.log());
    let after = first.points.writes();
    assert_eq!(&after[before.len()..], [], "{}", first.log());
    is_whole(&ground, &tenant).await;
    assert_eq!(first.points.writes(), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_off_ends_before_the_other_begins() {
    let Some(ground) = Ground::new("cut-leader", author()).await else {
        return;
    };
    let (tenant, mut first, second) = two(&ground).await;
    first.cuts.api.store(true, Ordering::Relaxed);
    first.api.sever();
    let ended = async {
        let code = first.ended(Duration::from_secs(15)).await;
        assert_eq!(code, Some(1), "{}", first.log());
        // It knew before anybody could take over.
        assert!(!second.points.writes().iter().any(goes_on));
    };
    tokio::join!(ended, taken_over(&ground, &second, "cut off"));
    assert!(first.log().contains("the lease was lost"), "{}", first.log());
    // Its Pod would be started again: it waits for as long as it is cut off, and is the second one then.
    let again = ground.start(&tenant, "first-again", LEASE).await;
    again.cuts.api.store(true, Ordering::Relaxed);
    is_whole(&ground, &tenant).await;
    assert_eq!(again.points.writes(), [], "{}", again.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_cut_off_the_run_goes_on_once_they_are_not() {
    let Some(ground) = Ground::new("cut-all", author()).await else {
        return;
    };
    let (tenant, mut first, second) = two(&ground).await;
    let cut = |replica: &Replica, is: bool| {
        replica.cuts.api.store(is, Ordering::Relaxed);
        replica.api.sever();
    };
    cut(&first, true);
    cut(&second, true);
    let code = first.ended(Duration::from_secs(15)).await;
    assert_eq!(code, Some(1), "{}", first.log());
    // Nobody can know whose it is.
    assert!(!second.points.writes().iter().any(goes_on));
    cut(&second, false);
    taken_over(&ground, &second, "cut off with all others").await;
    is_whole(&ground, &tenant).await;
}
