//! The status of a provider out of what is known of it. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::reason::{Reason, Standing};
use crate::api::ModelProviderStatus;
use crate::api::model_provider::Spending;
use crate::controllers::whole_second;
use crate::llm::account::{Budget, Figures, Period};

/// What is known of a provider.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Of this generation of the spec.
    pub(super) generation: Option<i64>,
    pub(super) standing: Standing,
    /// When the key was last seen to work.
    pub(super) checked_at: Option<Timestamp>,
}

/// How it stands, all in all: of a provider that could be used, the budget may be used up.
pub(super) fn standing(
    known: &Known,
    budget: Option<Budget>,
    figures: &Figures,
    closed: Option<Timestamp>,
) -> Standing {
    match (closed, budget) {
        (Some(until), Some(budget)) if known.standing.reason == Reason::Ready => Standing::new(
            Reason::BudgetUsedUp,
            format!(
                "the budget of {} {} is used up ({} spent): it opens again at {until}",
                budget.amount,
                match budget.period {
                    Period::Day => "a day",
                    Period::Month => "a month",
                },
                figures.spent
            ),
        ),
        _ => known.standing.clone(),
    }
}

/// The whole status. `before` is the one that stands there.
pub(super) fn status(
    known: &Known,
    standing: &Standing,
    spending: Option<Spending>,
    before: &ModelProviderStatus,
    now: Timestamp,
) -> ModelProviderStatus {
    let reason = standing.reason;
    let condition = |kind: &str, status: &str| Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: standing.message.clone(),
        observed_generation: known.generation,
        last_transition_time: since(before, kind, status, now),
    };
    let mut conditions = vec![condition("Ready", reason.ready())];
    // Both are there only while they are true, as kstatus wants it.
    if reason.waits() {
        conditions.push(condition("Reconciling", "True"));
    }
    if reason.is_stalled() {
        conditions.push(condition("Stalled", "True"));
    }
    ModelProviderStatus {
        observed_generation: known.generation,
        conditions,
        checked_at: known.checked_at.map(|at| Time(whole_second(at))),
        spending,
    }
}

/// Since when a condition has this status.
fn since(before: &ModelProviderStatus, kind: &str, status: &str, now: Timestamp) -> Time {
    before
        .conditions
        .iter()
        .find(|it| it.type_ == kind && it.status == status)
        .map_or_else(|| Time(whole_second(now)), |it| it.last_transition_time.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::prices::Cost;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn known(reason: Reason) -> Known {
        Known {
            generation: Some(3),
            standing: Standing::new(reason, "so it is"),
            checked_at: None,
        }
    }

    fn of(reason: Reason, before: &ModelProviderStatus, now: &str) -> ModelProviderStatus {
        let known = known(reason);
        status(&known, &known.standing, None, before, at(now))
    }

    fn shown(status: &ModelProviderStatus) -> Vec<String> {
        let one = |it: &Condition| format!("{}={} {}", it.type_, it.status, it.reason);
        status.conditions.iter().map(one).collect()
    }

    #[test]
    fn conditions_are_what_kstatus_reads() {
        let none = ModelProviderStatus::default();
        let now = "2026-11-26T12:00:00.5Z";
        for (reason, conditions) in [
            (Reason::Ready, &["Ready=True Ready"][..]),
            (
                Reason::Checking,
                &["Ready=Unknown Checking", "Reconciling=True Checking"],
            ),
            (
                Reason::SecretMissing,
                &["Ready=False SecretMissing", "Reconciling=True SecretMissing"],
            ),
            (
                Reason::KeyRefused,
                &["Ready=False KeyRefused", "Stalled=True KeyRefused"],
            ),
            // Not failed: time heals it.
            (Reason::BudgetUsedUp, &["Ready=False BudgetUsedUp"]),
        ] {
            let status = of(reason, &none, now);
            assert_eq!(shown(&status), conditions);
            assert_eq!(status.observed_generation, Some(3));
        }
    }

    #[test]
    fn a_status_that_stays_is_the_same() {
        let first = of(
            Reason::KeyRefused,
            &ModelProviderStatus::default(),
            "2026-11-26T12:00:00.5Z",
        );
        let json = serde_json::to_string(&first).unwrap();
        assert!(
            json.contains("\"lastTransitionTime\":\"2026-11-26T12:00:00Z\""),
            "{json}"
        );
        let read: ModelProviderStatus = serde_json::from_str(&json).unwrap();
        assert_eq!(read, first);
        assert_eq!(of(Reason::KeyRefused, &read, "2026-11-26T13:00:00Z"), read);
        // Another reason is no transition, another status is one.
        let missing = of(Reason::KeyMissing, &read, "2026-11-26T13:00:00Z");
        assert_eq!(
            missing.conditions[0].last_transition_time,
            read.conditions[0].last_transition_time
        );
        let ready = of(Reason::Ready, &read, "2026-11-26T13:00:00Z");
        assert_eq!(
            ready.conditions[0].last_transition_time.0,
            at("2026-11-26T13:00:00Z")
        );
    }

    #[test]
    fn a_budget_that_is_used_up_says_when_it_opens() {
        let budget = Some(Budget {
            amount: Cost(20_000_000),
            period: Period::Day,
        });
        let (since, until) = Period::Day.around(at("2026-11-26T12:00:00Z"));
        let figures = Figures {
            since,
            until,
            spent: Cost(19_800_000),
            reserved: Cost(0),
        };
        let closed = standing(&known(Reason::Ready), budget, &figures, Some(until));
        assert_eq!(
            (closed.reason, closed.message.as_str()),
            (
                Reason::BudgetUsedUp,
                "the budget of $20.00 a day is used up ($19.80 spent): it opens again at 2026-11-27T00:00:00Z"
            )
        );
        // What is worse is said first.
        let refused = standing(&known(Reason::KeyRefused), budget, &figures, Some(until));
        assert_eq!(refused.reason, Reason::KeyRefused);
        assert_eq!(
            standing(&known(Reason::Ready), budget, &figures, None).reason,
            Reason::Ready
        );
    }
}
