//! How the status follows a run, to its end or to its next try.

use std::time::Duration;

use super::*;
use crate::run::Event;
use crate::sessions::Progress;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn begun() -> CatalogStatus {
    CatalogStatus {
        run: Some(RunStatus {
            phase: Some(Phase::Pending),
            attempt: 1,
            fingerprint: Some("f".into()),
            requested_at: Some("monday".into()),
            ..RunStatus::default()
        }),
        ..CatalogStatus::default()
    }
}

fn outcome(summary_failure: Option<&str>) -> Outcome {
    let run = "20261121T120000Z".parse().unwrap();
    let object = |name: &str| (name.to_owned(), format!("s3://pages/x/20261121T120000Z/{name}"));
    let mut objects = vec![object("catalog_script.py"), object("catalog.html")];
    if summary_failure.is_none() {
        objects.push(object("recent_summary.html"));
    }
    objects.push(object("run.json"));
    Outcome {
        run,
        objects,
        summary_failure: summary_failure.map(str::to_owned),
        models: Vec::new(),
        spent: Spent::default(),
        driven: Duration::ZERO,
        warnings: Vec::new(),
    }
}

fn trouble(remedy: Remedy, resumable: bool) -> Ended {
    Ended::Failed(Trouble {
        kind: Kind::Model,
        message: "the model does not answer".into(),
        remedy,
        not_before: None,
        resumable,
    })
}

fn ends(status: &mut CatalogStatus, ended: &Ended, stopped: Option<Stop>, second: i64) -> Option<Summary> {
    let progress = Progress {
        run: "20261121T120000Z".parse().ok(),
        ..Progress::default()
    };
    end(status, (ended, &progress, stopped), 2, at(second))
}

#[test]
fn a_good_run_leaves_its_pages_and_answers_the_request() {
    let mut status = begun();
    let summary = ends(&mut status, &Ended::Succeeded(Box::new(outcome(None))), None, 5);
    assert_eq!(summary, Some(Summary::Published));
    let artifacts = status.artifacts.unwrap();
    assert_eq!(artifacts.fingerprint.as_deref(), Some("f"));
    assert!(artifacts.catalog.ends_with("/catalog.html"));
    assert!(artifacts.summary.is_some() && artifacts.summary_script.is_none());
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("monday"));
    let past = &status.history[0];
    assert_eq!(
        (past.phase, past.catalog.as_deref()),
        (Phase::Succeeded, Some(artifacts.catalog.as_str()))
    );
    assert_eq!(status.run.unwrap().finished_at, Some(Time(at(5))));
}

#[test]
fn what_is_begun_anew_says_why() {
    let mut status = begun();
    status.run.as_mut().unwrap().id = Some("20261120T120000Z".into());
    let before = status.clone();
    let mut progress = Progress {
        run: "20261121T120000Z".parse().ok(),
        ..Progress::default()
    };
    progress.begun_anew("run 20261120T120000Z can't be gone on with (it is damaged); it is begun anew");
    "the sandbox is being made".clone_into(&mut progress.message);
    follow(&mut status, &progress, at(1));
    let told = crate::controllers::catalog::events::events(&before, &status);
    let told: Vec<_> = told
        .iter()
        .map(|news| (news.reason.as_str(), news.message.as_str()))
        .collect();
    assert_eq!(
        told[0],
        (
            "BegunAnew",
            "the sandbox is being made; run 20261120T120000Z can't be gone on with (it is damaged); it is begun anew"
        )
    );
    assert_eq!(told[1].0, "RunStarted");
}

#[test]
fn a_budget_that_closes_spends_no_try() {
    let mut status = begun();
    let closed = Ended::Failed(Trouble {
        kind: Kind::Model,
        message: "the budget is used up".into(),
        remedy: Remedy::Retry,
        not_before: Some(at(86_400)),
        resumable: true,
    });
    let progress = Progress::default();
    for second in 0..5 {
        // No try is left to be spent.
        end(&mut status, (&closed, &progress, None), 0, at(second));
        let run = status.run.as_ref().unwrap();
        assert_eq!((run.phase, run.attempt), (Some(Phase::Pending), 1));
        assert_eq!(run.reason.as_deref(), Some("BudgetUsedUp"));
        assert_eq!(run.next_attempt_at, Some(Time(at(second + 10))));
    }
    assert_eq!(counted(&closed, None, &status), RunOutcome::Retried);
}

#[test]
fn only_what_is_given_up_counts_as_failed() {
    let mut status = begun();
    let fails = trouble(Remedy::Retry, true);
    let mut seen = Vec::new();
    for second in 0..3 {
        ends(&mut status, &fails, None, second);
        seen.push(counted(&fails, None, &status));
        status.run.as_mut().unwrap().attempt += 1;
    }
    assert_eq!(
        seen,
        [RunOutcome::Retried, RunOutcome::Retried, RunOutcome::Failed]
    );
    let stopped = |why| counted(&Ended::Stopped, Some(why), &status);
    assert_eq!(stopped(Stop::Suspended), RunOutcome::Suspended);
    assert_eq!(stopped(Stop::Overdue), RunOutcome::Failed);
}

#[test]
fn what_is_taken_back_is_the_run_of_the_last_good_catalog() {
    let mut status = begun();
    let good = Ended::Succeeded(Box::new(outcome(None)));
    ends(&mut status, &good, None, 60);
    let (artifacts, history) = (status.artifacts.clone(), status.history.clone());
    // Another spec was begun, by an operator that is gone.
    status.run = Some(RunStatus {
        id: Some("20261121T130000Z".into()),
        phase: Some(Phase::Cataloging),
        fingerprint: Some("other".into()),
        ..RunStatus::default()
    });
    take_back(&mut status, "s", at(100));
    let run = status.run.as_ref().unwrap();
    assert_eq!(run.id.as_deref(), Some("20261121T120000Z"));
    assert_eq!(
        (run.phase, run.reason.as_deref()),
        (Some(Phase::Succeeded), Some("Adopted"))
    );
    assert_eq!(run.fingerprint, artifacts.as_ref().unwrap().fingerprint);
    assert_eq!(run.finished_at, history[0].finished_at);
    assert_eq!(status.artifacts, artifacts);
    assert_eq!(status.history[0].reason.as_deref(), Some("Replaced"));
    assert_eq!(status.history[1..], history);
}

#[test]
fn a_bucket_that_is_away_spends_no_try() {
    let away = |remedy, resumable| {
        Ended::Failed(Trouble {
            kind: Kind::Store,
            message: "the store can't be reached".into(),
            remedy,
            not_before: None,
            resumable,
        })
    };
    let mut status = begun();
    for time in 0..20 {
        let second = time * 100;
        ends(&mut status, &away(Remedy::Retry, true), None, second);
        let run = status.run.as_mut().unwrap();
        assert_eq!((run.phase, run.attempt), (Some(Phase::Pending), 1));
        assert_eq!(run.reason.as_deref(), Some("StorageFailed"));
        assert_eq!(run.next_attempt_at, Some(Time(at(second + 30))));
        assert_eq!(run.id.as_deref(), Some("20261121T120000Z"));
        let message = run.message.as_deref().unwrap();
        assert_eq!(message, "it is tried again in 30 s: the store can't be reached");
        assert_eq!(status.history.len(), 0);
    }
    // What is in a run's way there is a failure, and so is what time does not heal.
    let mut spent = begun();
    ends(&mut spent, &away(Remedy::Retry, false), None, 0);
    assert_eq!(spent.run.unwrap().reason.as_deref(), Some("BackingOff"));
    let mut refused = begun();
    ends(&mut refused, &away(Remedy::Change, true), None, 0);
    assert_eq!(refused.run.unwrap().phase, Some(Phase::Failed));
}

#[test]
fn a_summary_that_failed_leaves_the_catalog() {
    let mut status = begun();
    let ended = Ended::Succeeded(Box::new(outcome(Some("no baseline"))));
    let summary = ends(&mut status, &ended, None, 5);
    assert_eq!(summary, Some(Summary::Failed("no baseline".into())));
    assert!(status.artifacts.unwrap().summary.is_none());
    assert_eq!(status.run.unwrap().phase, Some(Phase::Succeeded));
}

#[test]
fn tries_are_counted_and_end() {
    let mut status = begun();
    for (attempt, wait) in [(1, 10), (2, 20)] {
        ends(&mut status, &trouble(Remedy::Retry, true), None, 0);
        let run = status.run.as_mut().unwrap();
        assert_eq!(run.next_attempt_at, Some(Time(at(wait))));
        assert!(run.message.as_ref().unwrap().starts_with(&format!(
            "try {attempt} of 3 failed and is made again in {wait} s: the model"
        )));
        assert!(run.id.is_some() && status.history.is_empty());
        run.attempt = attempt + 1;
    }
    ends(&mut status, &trouble(Remedy::Retry, true), None, 0);
    let run = status.run.as_ref().unwrap();
    assert_eq!(
        (run.phase, run.reason.as_deref()),
        (Some(Phase::Failed), Some("ModelFailed"))
    );
    assert_eq!(status.history[0].attempts, 3);
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("monday"));
}

#[test]
fn a_try_that_failed_stays_spent_whatever_is_waited_for() {
    let others: [fn(&mut CatalogStatus); 2] = [
        |status| suspend(status, at(5)),
        |status| wait(status, Reason::SecretMissing, "it is not there", at(5)),
    ];
    for other in others {
        let mut status = begun();
        // A try that has not failed is not.
        other(&mut status);
        assert_eq!(status.run.as_ref().unwrap().attempt, 1);
        ends(&mut status, &trouble(Remedy::Retry, true), None, 0);
        other(&mut status);
        other(&mut status);
        assert_eq!(status.run.unwrap().attempt, 2);
    }
}

#[test]
fn what_no_try_can_heal_is_not_tried() {
    let mut status = begun();
    ends(&mut status, &trouble(Remedy::Change, true), None, 0);
    assert_eq!(status.run.unwrap().phase, Some(Phase::Failed));
    // What can't be gone on with gets another name.
    let mut status = begun();
    ends(&mut status, &trouble(Remedy::Retry, false), None, 0);
    assert_eq!(status.run.unwrap().id, None);
    // What somebody else drives is not spent.
    let mut status = begun();
    ends(&mut status, &trouble(Remedy::Nothing, true), None, 0);
    let run = status.run.unwrap();
    assert!(!super::super::due::is(&run, Reason::BackingOff) && run.next_attempt_at.is_some());
}

#[test]
fn stops_say_why() {
    for (stop, phase, reason) in [
        (Stop::Suspended, Phase::Suspended, "Suspended"),
        (Stop::Replaced, Phase::Failed, "Replaced"),
        (Stop::Overdue, Phase::Pending, "BackingOff"),
    ] {
        let mut status = begun();
        ends(&mut status, &Ended::Stopped, Some(stop), 0);
        let run = status.run.as_ref().unwrap();
        assert_eq!((run.phase, run.reason.as_deref()), (Some(phase), Some(reason)));
        assert_eq!(status.last_handled_reconcile_at, None, "{stop:?}");
    }
}

#[test]
fn history_is_short_and_has_a_run_once() {
    let mut status = begun();
    for second in 0..15 {
        let mut good = outcome(None);
        good.run = crate::store::RunId::at(at(second).into());
        status.run.as_mut().unwrap().phase = Some(Phase::Cataloging);
        ends(&mut status, &Ended::Succeeded(Box::new(good)), None, second);
    }
    assert_eq!(status.history.len(), HISTORY);
    assert_eq!(status.history[0].finished_at, Some(Time(at(14))));
    let again = status.clone();
    let mut good = outcome(None);
    good.run = crate::store::RunId::at(at(14).into());
    ends(&mut status, &Ended::Succeeded(Box::new(good)), None, 20);
    assert_eq!(status.history.len(), again.history.len());
    assert_eq!(status.history[1], again.history[1]);
}

#[test]
fn the_status_follows_the_session() {
    let mut status = begun();
    let mut progress = Progress::default();
    progress.take(&Event::Phase(crate::run::Phase::Provisioning));
    follow(&mut status, &progress, at(1));
    let since = status.run.as_ref().unwrap().phase_since.clone();
    assert_eq!(since, Some(Time(at(1))));
    progress.sandbox_waits("no room".into());
    follow(&mut status, &progress, at(2));
    let run = status.run.as_ref().unwrap();
    assert_eq!((run.phase, &run.phase_since), (Some(Phase::Provisioning), &since));
    assert_eq!(run.message.as_deref(), Some("no room"));
    progress.sandbox_runs("ns/pod".into());
    progress.take(&Event::Phase(crate::run::Phase::Cataloging));
    follow(&mut status, &progress, at(3));
    let run = status.run.as_ref().unwrap();
    assert_eq!(
        (run.phase, run.sandbox.as_deref()),
        (Some(Phase::Cataloging), Some("ns/pod"))
    );
    suspend(&mut status, at(4));
    assert_eq!(status.run.unwrap().sandbox, None);
}
