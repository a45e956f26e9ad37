//! Conditions and phase, as they are read in every state of a run.

use super::*;
use crate::api::catalog::Artifacts;
use std::time::Duration;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn wanted(fingerprint: &str) -> Wanted {
    Wanted {
        fingerprint: fingerprint.into(),
        settings: "s".into(),
        requested_at: None,
        suspend: false,
        timeout: Duration::from_mins(30),
        ttl: None,
    }
}

fn run(phase: Phase, reason: Reason, fingerprint: &str) -> RunStatus {
    RunStatus {
        phase: Some(phase),
        reason: Some(reason.to_string()),
        message: Some("so it is".into()),
        fingerprint: Some(fingerprint.into()),
        settings: Some("s".into()),
        ..RunStatus::default()
    }
}

fn good(fingerprint: &str) -> Artifacts {
    Artifacts {
        timestamp: "20261121T120000Z".into(),
        fingerprint: Some(fingerprint.into()),
        catalog: "s3://pages/x/catalog.html".into(),
        summary: Some("s3://pages/x/recent_summary.html".into()),
        catalog_script: None,
        summary_script: None,
        run: None,
    }
}

struct Case {
    run: Option<RunStatus>,
    artifacts: Option<Artifacts>,
    problem: Option<Problem>,
    suspended: bool,
}

impl Case {
    fn of(run: Option<RunStatus>, artifacts: Option<Artifacts>) -> Self {
        Self {
            run,
            artifacts,
            problem: None,
            suspended: false,
        }
    }

    /// Phase; then Ready, Reconciling and Stalled with their reasons.
    fn told(self) -> String {
        let mut status = CatalogStatus {
            run: self.run,
            artifacts: self.artifacts,
            ..CatalogStatus::default()
        };
        let wanted = wanted("new");
        let facts = Facts {
            wanted: self.problem.is_none().then_some(&wanted),
            suspended: self.suspended,
            problem: self.problem.as_ref(),
            obstacle: None,
            summary: None,
            generation: Some(3),
            now: at(0),
        };
        update(&mut status, &facts);
        let condition = |kind: &str| {
            let it = status.conditions.iter().find(|it| it.type_ == kind).unwrap();
            assert_eq!(it.observed_generation, Some(3));
            format!("{} {}", it.status, it.reason)
        };
        let phase = status.phase.unwrap();
        format!(
            "{phase:?}: {}, {}, {}",
            condition("Ready"),
            condition("Reconciling"),
            condition("Stalled")
        )
    }
}

fn problem(reason: Reason, passes: bool) -> Problem {
    Problem {
        reason,
        message: "what to do".into(),
        passes,
    }
}

#[test]
fn conditions_are_read_right_in_every_state() {
    let running = || Some(run(Phase::Cataloging, Reason::Cataloging, "new"));
    let failed = || Some(run(Phase::Failed, Reason::ModelFailed, "new"));
    let done = || Some(run(Phase::Succeeded, Reason::Succeeded, "new"));
    for (case, expected) in [
        (
            Case::of(None, None),
            "Pending: Unknown Pending, True Pending, False NotStalled",
        ),
        (
            Case::of(running(), None),
            "Cataloging: Unknown Cataloging, True Cataloging, False NotStalled",
        ),
        (
            Case::of(done(), Some(good("new"))),
            "Succeeded: True Succeeded, False Handled, False NotStalled",
        ),
        // Again, for the same: nothing seems to be under way.
        (
            Case::of(running(), Some(good("new"))),
            "Cataloging: True Succeeded, False Handled, False NotStalled",
        ),
        (
            Case::of(failed(), Some(good("new"))),
            "Failed: True LastRunFailed, False Handled, False NotStalled",
        ),
        // For something else.
        (
            Case::of(running(), Some(good("old"))),
            "Cataloging: True Succeeded, True Cataloging, False NotStalled",
        ),
        (
            Case::of(failed(), Some(good("old"))),
            "Failed: True LastRunFailed, False Handled, True ModelFailed",
        ),
        (
            Case::of(failed(), None),
            "Failed: False ModelFailed, False Handled, True ModelFailed",
        ),
        (
            Case {
                suspended: true,
                ..Case::of(None, None)
            },
            "Suspended: False Suspended, False Suspended, False NotStalled",
        ),
        (
            Case {
                suspended: true,
                ..Case::of(done(), Some(good("new")))
            },
            "Suspended: True Succeeded, False Handled, False NotStalled",
        ),
        (
            Case {
                problem: Some(problem(Reason::SecretMissing, true)),
                ..Case::of(None, None)
            },
            "Pending: False SecretMissing, True SecretMissing, False NotStalled",
        ),
        (
            Case {
                problem: Some(problem(Reason::NotAllowed, false)),
                ..Case::of(None, None)
            },
            "Failed: False NotAllowed, False Handled, True NotAllowed",
        ),
        (
            Case {
                problem: Some(problem(Reason::NotAllowed, false)),
                ..Case::of(done(), Some(good("old")))
            },
            "Failed: True LastRunFailed, False Handled, True NotAllowed",
        ),
    ] {
        assert_eq!(case.told(), expected);
    }
}

#[test]
fn a_good_catalog_says_what_its_next_run_waits_for() {
    let mut status = CatalogStatus {
        run: Some(run(Phase::Pending, Reason::BudgetUsedUp, "new")),
        artifacts: Some(good("new")),
        ..CatalogStatus::default()
    };
    let (wanted, problem) = (wanted("new"), problem(Reason::BudgetUsedUp, true));
    let facts = Facts {
        wanted: Some(&wanted),
        suspended: false,
        problem: Some(&problem),
        obstacle: None,
        summary: None,
        generation: Some(3),
        now: at(0),
    };
    update(&mut status, &facts);
    let is = |kind: &str| status.conditions.iter().find(|it| it.type_ == kind).unwrap();
    assert_eq!(
        (is("Ready").status.as_str(), is("Reconciling").status.as_str()),
        ("True", "False")
    );
    let message = &is("Ready").message;
    assert!(
        message.contains("; a later run waits: ") && message.ends_with(&problem.message),
        "{message}"
    );
}

#[test]
fn times_change_with_the_truth_and_not_with_the_words() {
    let mut status = CatalogStatus::default();
    let wanted = wanted("new");
    let mut facts = Facts {
        wanted: Some(&wanted),
        suspended: false,
        problem: None,
        obstacle: None,
        summary: None,
        generation: Some(1),
        now: at(0),
    };
    update(&mut status, &facts);
    let ready = |status: &CatalogStatus| {
        let it = status.conditions.iter().find(|it| it.type_ == "Ready").unwrap();
        (it.reason.clone(), it.last_transition_time.clone())
    };
    assert_eq!(ready(&status), ("Pending".into(), Time(at(0))));
    status.run = Some(run(Phase::Cataloging, Reason::Cataloging, "new"));
    facts.now = at(5);
    update(&mut status, &facts);
    assert_eq!(ready(&status), ("Cataloging".into(), Time(at(0))));
    let before = status.clone();
    facts.now = at(9);
    update(&mut status, &facts);
    assert_eq!(status, before);
    status.artifacts = Some(good("new"));
    update(&mut status, &facts);
    assert_eq!(ready(&status).1, Time(at(9)));
}

#[test]
fn a_summary_is_spoken_of_until_the_next_run_ends() {
    let wanted = wanted("new");
    let failed = Summary::Failed("no baseline".into());
    let mut facts = Facts {
        wanted: Some(&wanted),
        suspended: false,
        problem: None,
        obstacle: None,
        summary: Some(&failed),
        generation: Some(1),
        now: at(0),
    };
    let mut status = CatalogStatus {
        run: Some(run(Phase::Succeeded, Reason::Succeeded, "new")),
        artifacts: Some(Artifacts {
            summary: None,
            ..good("new")
        }),
        ..CatalogStatus::default()
    };
    let told = |status: &CatalogStatus| {
        let it = status.conditions.iter().find(|it| it.type_ == "SummaryPublished");
        let it = it.unwrap();
        format!("{} {} {}", it.status, it.reason, it.message)
    };
    update(&mut status, &facts);
    assert_eq!(told(&status), "False SummaryFailed no baseline");
    facts.summary = None;
    facts.now = at(60);
    update(&mut status, &facts);
    assert_eq!(told(&status), "False SummaryFailed no baseline");
}
