//! What is next, for each thing that buys a run and each that must not.

use super::*;
use crate::api::catalog::Artifacts;

const MINUTE: Duration = Duration::from_mins(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn wanted() -> Wanted {
    Wanted {
        fingerprint: "f".into(),
        settings: "s".into(),
        requested_at: None,
        suspend: false,
        timeout: 30 * MINUTE,
        ttl: None,
    }
}

fn run(phase: Phase) -> RunStatus {
    RunStatus {
        id: Some("20261121T120000Z".into()),
        phase: Some(phase),
        attempt: 1,
        fingerprint: Some("f".into()),
        settings: Some("s".into()),
        phase_since: Some(Time(at(0))),
        finished_at: (!is_under_way(&RunStatus {
            phase: Some(phase),
            ..RunStatus::default()
        }))
        .then(|| Time(at(0))),
        ..RunStatus::default()
    }
}

fn status(run: RunStatus) -> CatalogStatus {
    CatalogStatus {
        run: Some(run),
        ..CatalogStatus::default()
    }
}

fn begun(next: Next) -> (RunStatus, bool) {
    match next {
        Next::Begin { run, before } => (*run, before),
        other => panic!("nothing begins: {other:?}"),
    }
}

#[test]
fn the_first_run_is_due_at_once() {
    let (run, before) = begun(next(&wanted(), &CatalogStatus::default(), Sight::Absent, at(0)));
    assert_eq!((run.attempt, run.id, before), (1, None, false));
    assert_eq!(run.fingerprint.as_deref(), Some("f"));
    assert_eq!(run.phase, Some(Phase::Pending));
}

#[test]
fn a_clock_that_was_set_back_makes_no_wait_longer() {
    let waits = status(RunStatus {
        reason: Some(Reason::BackingOff.to_string()),
        phase_since: Some(Time(at(86_400))),
        next_attempt_at: Some(Time(at(86_420))),
        ..run(Phase::Pending)
    });
    let after = |now| next(&wanted(), &waits, Sight::Absent, at(now));
    assert_eq!(after(86_405), Next::Wait(Duration::from_secs(15)));
    // It was a day ahead when that was written, and is right now.
    assert_eq!(after(5), Next::Wait(Duration::from_secs(20)));
    begun(after(86_420));
    begun(after(999_999));
}

#[test]
fn what_was_done_is_not_done_again() {
    let done = status(run(Phase::Succeeded));
    assert_eq!(next(&wanted(), &done, Sight::Absent, at(9)), Next::Rest);
    // Suspend, time to live, limits: none of them buys a run.
    for change in [
        Wanted {
            suspend: true,
            ..wanted()
        },
        Wanted {
            settings: "t".into(),
            ..wanted()
        },
    ] {
        assert_eq!(next(&change, &done, Sight::Absent, at(9)), Next::Rest);
    }
    let other = Wanted {
        fingerprint: "g".into(),
        ..wanted()
    };
    let (run, before) = begun(next(&other, &done, Sight::Absent, at(9)));
    assert_eq!((run.id, run.attempt, before), (None, 1, false));
}

#[test]
fn what_is_changed_back_to_the_last_good_catalog_buys_nothing() {
    let of = |fingerprint: &str, phase| RunStatus {
        fingerprint: Some(fingerprint.into()),
        ..run(phase)
    };
    let artifacts = Artifacts {
        timestamp: "20261121T120000Z".into(),
        fingerprint: Some("f".into()),
        catalog: "s3://pages/x/20261121T120000Z/catalog.html".into(),
        summary: None,
        catalog_script: None,
        summary_script: None,
        run: None,
    };
    for phase in [Phase::Cataloging, Phase::Failed, Phase::Suspended] {
        let mut changed = status(of("g", phase));
        changed.artifacts = Some(artifacts.clone());
        assert_eq!(next(&wanted(), &changed, Sight::Absent, at(9)), Next::TakeBack);
        // What was asked for meanwhile was not made.
        let asked = Wanted {
            requested_at: Some("monday".into()),
            ..wanted()
        };
        begun(next(&asked, &changed, Sight::Absent, at(9)));
        // And something else is something else.
        let other = Wanted {
            fingerprint: "h".into(),
            ..wanted()
        };
        begun(next(&other, &changed, Sight::Absent, at(9)));
    }
}

#[test]
fn each_new_request_buys_one_run() {
    let asked = Wanted {
        requested_at: Some("monday".into()),
        ..wanted()
    };
    let mut done = status(run(Phase::Succeeded));
    let (again, _) = begun(next(&asked, &done, Sight::Absent, at(9)));
    assert_eq!(
        (again.id.as_deref(), again.requested_at.as_deref()),
        (None, Some("monday"))
    );
    done.last_handled_reconcile_at = Some("monday".into());
    assert_eq!(next(&asked, &done, Sight::Absent, at(9)), Next::Rest);
    // A new one in the middle of a run waits for its end.
    let under_way = status(run(Phase::Cataloging));
    let running = Sight::Running {
        elapsed: MINUTE,
        stopping: false,
    };
    assert_eq!(next(&asked, &under_way, running, at(9)), Next::Follow);
}

#[test]
fn what_was_under_way_goes_on_as_the_same_try() {
    for phase in [
        Phase::Pending,
        Phase::Provisioning,
        Phase::Cataloging,
        Phase::Suspended,
    ] {
        let (again, before) = begun(next(&wanted(), &status(run(phase)), Sight::Absent, at(9)));
        assert_eq!((again.attempt, before), (1, true), "{phase:?}");
        assert_eq!(again.id.as_deref(), Some("20261121T120000Z"));
    }
}

#[test]
fn a_failed_try_waits_and_counts() {
    let mut failed = run(Phase::Pending);
    failed.reason = Some(Reason::BackingOff.to_string());
    failed.next_attempt_at = Some(Time(at(10)));
    let failed = status(failed);
    assert_eq!(
        next(&wanted(), &failed, Sight::Absent, at(4)),
        Next::Wait(Duration::from_secs(6))
    );
    let (again, _) = begun(next(&wanted(), &failed, Sight::Absent, at(10)));
    assert_eq!((again.attempt, again.next_attempt_at), (2, None));
    let waits: Vec<u64> = (1..9).map(|attempt| backoff(attempt).as_secs()).collect();
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 360, 360]);
}

#[test]
fn after_a_failure_other_limits_are_a_reason() {
    let failed = status(run(Phase::Failed));
    assert_eq!(next(&wanted(), &failed, Sight::Absent, at(9)), Next::Rest);
    let more = Wanted {
        settings: "t".into(),
        ..wanted()
    };
    let (again, _) = begun(next(&more, &failed, Sight::Absent, at(9)));
    // The same run: what it has paid for is kept.
    assert_eq!(
        (again.id.is_some(), again.attempt, again.settings.as_deref()),
        (true, 1, Some("t"))
    );
}

#[test]
fn sessions_stop_for_what_changes_the_result() {
    let under_way = status(run(Phase::Cataloging));
    let running = |stopping| Sight::Running {
        elapsed: MINUTE,
        stopping,
    };
    let suspended = Wanted {
        suspend: true,
        ..wanted()
    };
    let other = Wanted {
        fingerprint: "g".into(),
        ..wanted()
    };
    let limits = Wanted {
        settings: "t".into(),
        ..wanted()
    };
    for (wanted, expected) in [
        (&suspended, Next::Stop(Stop::Suspended)),
        (&other, Next::Stop(Stop::Replaced)),
        (&limits, Next::Follow),
    ] {
        assert_eq!(next(wanted, &under_way, running(false), at(9)), expected);
        assert_eq!(next(wanted, &under_way, running(true), at(9)), Next::Follow);
    }
}

#[test]
fn what_holds_for_any_run_holds_while_nobody_knows_what_is_asked_for() {
    let under_way = status(run(Phase::Provisioning));
    let long = Duration::from_mins(21);
    let timeout = wanted().timeout;
    for (suspend, elapsed, stopping, expected) in [
        (false, Duration::ZERO, false, Next::Follow),
        (true, Duration::ZERO, false, Next::Stop(Stop::Suspended)),
        (true, long, true, Next::Follow),
        (false, long, false, Next::Stop(Stop::Overdue)),
    ] {
        let next = meanwhile(
            (suspend, timeout),
            &under_way,
            (elapsed, stopping),
            at(21 * 60 + 1),
        );
        assert_eq!(next, expected, "{suspend} {elapsed:?} {stopping}");
    }
}

#[test]
fn every_phase_has_a_deadline() {
    for (phase, minutes) in [
        (Phase::Pending, 45),
        (Phase::Provisioning, 20),
        (Phase::Cataloging, 75),
        (Phase::Summarizing, 75),
    ] {
        let status = status(run(phase));
        let seen = |elapsed: u64, clock: i64| {
            let sight = Sight::Running {
                elapsed: Duration::from_mins(elapsed),
                stopping: false,
            };
            next(&wanted(), &status, sight, at(clock * 60))
        };
        let clock = i64::try_from(minutes).unwrap();
        assert_eq!(seen(minutes, clock), Next::Follow, "{phase:?}");
        assert_eq!(
            seen(minutes + 1, clock + 1),
            Next::Stop(Stop::Overdue),
            "{phase:?}"
        );
        // A clock that jumps ends nothing, and nor does one that goes back.
        assert_eq!(seen(1, clock + 1000), Next::Follow);
        assert_eq!(seen(minutes + 1, -1000), Next::Follow);
    }
}

#[test]
fn the_time_to_live_begins_with_the_end() {
    let short = Wanted {
        ttl: Some(MINUTE),
        ..wanted()
    };
    for phase in [Phase::Succeeded, Phase::Failed] {
        let ended = status(run(phase));
        assert_eq!(
            next(&short, &ended, Sight::Absent, at(20)),
            Next::Wait(Duration::from_secs(40))
        );
        assert_eq!(next(&short, &ended, Sight::Absent, at(60)), Next::Expire);
    }
    let under_way = status(run(Phase::Pending));
    assert!(matches!(
        next(&short, &under_way, Sight::Absent, at(600)),
        Next::Begin { .. }
    ));
    let suspended = Wanted {
        suspend: true,
        ..short
    };
    assert_eq!(
        next(&suspended, &status(run(Phase::Succeeded)), Sight::Absent, at(60)),
        Next::Rest
    );
}

#[test]
fn what_is_taken_back_goes_on() {
    let mut replaced = run(Phase::Failed);
    replaced.reason = Some(Reason::Replaced.to_string());
    let (again, before) = begun(next(&wanted(), &status(replaced), Sight::Absent, at(9)));
    assert_eq!(
        (again.id.is_some(), again.finished_at, before),
        (true, None, true)
    );
}

#[test]
fn patience_grows_with_the_time_that_has_passed() {
    let since = Time(at(0));
    for (passed, wait) in [(0, 3), (60, 15), (3600, 300), (-60, 3)] {
        assert_eq!(
            patience(Some(&since), at(passed)).as_secs(),
            wait,
            "after {passed} s"
        );
    }
    assert_eq!(patience(None, at(0)).as_secs(), 3);
}
