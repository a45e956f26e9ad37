//! Whose a run is: what bought it finds it again, and whoever is made anew knows it by its names.

use cataloger::run::{self, Claimant, Event, Kind, Plan, Subject};

use crate::scene::Scene;
use crate::stage::{resume, start};

fn claimant(order: &str) -> Claimant {
    Claimant {
        installation: "here".into(),
        catalog: Some("5a3c".into()),
        order: Some(order.into()),
        subject: Some(Subject {
            namespace: "shop".into(),
            name: "orders".into(),
            fingerprint: "abc".into(),
            requested_at: None,
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_found_by_what_bought_it() {
    let scene = Scene::new().await;
    let plan = |order| Plan {
        claimant: claimant(order),
        ..scene.plan()
    };
    let (first, second) = (plan("first"), plan("second"));
    let parts = scene.parts(&first).await;
    let watch = |event: &Event| {
        if matches!(event, Event::Ran { .. }) {
            parts.cancel.cancel();
        }
    };
    let stopped = run::start(&first, &parts, &watch).await.unwrap_err();
    assert_eq!(stopped.kind(), Kind::Interrupted, "{stopped}");
    let run = scene.only();

    let parts = scene.parts(&first).await;
    assert_eq!(run::unfinished(&second, &parts).await.unwrap(), None);
    assert_eq!(run::unfinished(&scene.plan(), &parts).await.unwrap(), None);
    let refused = resume(&second, &parts, run).await.0.unwrap_err();
    assert!(
        refused.to_string().contains("the order of it is another"),
        "{refused}"
    );
    assert!(!refused.is_resumable());
    assert_eq!(run::unfinished(&first, &parts).await.unwrap(), Some(run));
    let found = run::last_good(&*parts.store, &parts.layout, &parts.cancel).await;
    assert_eq!(found.unwrap(), None);

    let (outcome, _) = resume(&first, &parts, run).await;
    let outcome = outcome.unwrap();
    assert_eq!(run::unfinished(&first, &parts).await.unwrap(), None);
    let report = scene.report();
    assert_eq!(report["order"], "first");
    assert_eq!(report["subject"]["name"], "orders");
    // What its report says is what it has come to.
    let good = run::last_good(&*parts.store, &parts.layout, &parts.cancel).await;
    let good = good.unwrap().unwrap();
    assert!(good.is_of(&claimant("second").subject.unwrap()));
    assert_eq!(
        (good.run, good.order.as_deref(), good.attempts),
        (run, Some("first"), 2)
    );
    assert_eq!((&good.spent, &good.models), (&outcome.spent, &outcome.models));
    assert_eq!(good.driven, outcome.driven);
    let sorted = |mut objects: Vec<(String, String)>| {
        objects.sort();
        objects
    };
    assert_eq!(sorted(good.objects), sorted(outcome.objects.clone()));
    assert_eq!((good.summary_failure, good.warnings), (None, outcome.warnings));

    // Whoever has not heard of its end asks again, and pays nothing.
    let asked = scene.server.requests().len();
    let (again, told) = resume(&first, &parts, run).await;
    let again = again.unwrap();
    assert_eq!((again.spent, again.objects), (outcome.spent, outcome.objects));
    assert_eq!(scene.server.requests().len(), asked);
    let Some(Event::Resumed { so_far, .. }) = told.first() else {
        panic!("{told:?}");
    };
    assert_eq!((so_far.spent, so_far.objects.len()), (outcome.spent, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_orders_nothing_leaves_no_trace_of_it() {
    let scene = Scene::new().await;
    let plan = scene.plan();
    let parts = scene.parts(&plan).await;
    start(&plan, &parts).await.0.unwrap();
    let claim = &scene.records()[0]["claimed"];
    let report = scene.report();
    for name in ["order", "subject"] {
        assert!(claim.get(name).is_none() && report.get(name).is_none(), "{name}");
    }
    let good = run::last_good(&*parts.store, &parts.layout, &parts.cancel).await;
    assert_eq!(good.unwrap().unwrap().subject, None);
}
