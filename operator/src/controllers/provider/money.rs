//! Budgets, rates and figures, as the API has them and as accounts have them. Pure.

use std::num::NonZeroU32;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::ModelProviderSpec;
use crate::api::model_provider as api;
use crate::llm::account::{Budget, Figures, Limits, Period};
use crate::llm::prices::{Cost, Prices};
use crate::llm::{ModelSpec, Provider};
use crate::models;

/// What a provider may cost.
pub(super) fn budget(spec: &ModelProviderSpec) -> Option<Budget> {
    spec.budget.as_ref().map(|budget| Budget {
        amount: amount(budget.amount),
        period: match budget.period {
            api::Period::Day => Period::Day,
            api::Period::Month => Period::Month,
        },
    })
}

/// How fast it may be asked.
pub(super) fn limits(spec: &ModelProviderSpec) -> Limits {
    spec.limits
        .as_ref()
        .map_or_else(Limits::default, |limits| Limits {
            requests: limits.requests_per_minute.and_then(NonZeroU32::new),
            tokens: limits.tokens_per_minute.and_then(NonZeroU32::new),
        })
}

/// What was written; of what is finer than money is counted, rather less. What is no amount is nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates"
)]
fn amount(dollars: f64) -> Cost {
    let exact = dollars.to_string().parse();
    exact.unwrap_or(Cost((dollars * 1e6).floor() as u64))
}

/// The figures of a status.
pub(super) fn figures(spending: &api::Spending) -> Figures {
    Figures {
        since: spending.since.0,
        until: spending.until.0,
        spent: micros(spending.spent),
        reserved: micros(spending.reserved),
    }
}

/// Figures for a status, and who vouches for them.
pub(super) fn spending(figures: &Figures, holder: &str) -> api::Spending {
    api::Spending {
        since: Time(figures.since),
        until: Time(figures.until),
        spent: dollars(figures.spent),
        reserved: dollars(figures.reserved),
        holder: Some(holder.to_owned()),
    }
}

/// The figures of a status that nobody understands: nothing is left in this period.
pub(super) fn nothing_left(budget: Option<Budget>, now: Timestamp) -> Figures {
    let (since, until) = budget.map_or(Period::Month, |it| it.period).around(now);
    Figures {
        since,
        until,
        spent: budget.map_or_else(Cost::default, |budget| budget.amount),
        reserved: Cost::default(),
    }
}

// Sums of less than four billion dollars come back as they were.
#[expect(clippy::cast_precision_loss)]
fn dollars(cost: Cost) -> f64 {
    cost.0 as f64 / 1e6
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates"
)]
fn micros(dollars: f64) -> Cost {
    Cost((dollars * 1e6).round() as u64)
}

/// Those of these models whose price nobody knows, if the provider has a budget: that could not be kept.
pub fn unpriced(spec: &ModelProviderSpec, asked: &[ModelSpec]) -> Vec<ModelSpec> {
    if spec.budget.is_none() || models::kind(spec) == Provider::Builtin {
        return Vec::new();
    }
    let mut prices = Prices::bundled().clone();
    // What is wrong with them is said elsewhere.
    if let Ok(own) = models::prices(spec) {
        prices.override_with(&own);
    }
    let unknown = |model: &&ModelSpec| prices.get(model).is_none();
    asked.iter().filter(unknown).cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn budgets_are_exact() {
        for (dollars, micros) in [
            (20.0, 20_000_000),
            (19.99, 19_990_000),
            (0.1, 100_000),
            (0.000_001_9, 1),
            (100_000_000.0, 100_000_000_000_000),
            (0.0, 0),
            (-1.0, 0),
            (f64::NAN, 0),
        ] {
            assert_eq!(amount(dollars), Cost(micros), "{dollars}");
        }
    }

    proptest! {
        #[test]
        fn figures_come_back_as_they_were(spent in 0_u64..4_000_000_000_000_000, reserved in 0_u64..4_000_000_000_000_000) {
            let (since, until) = Period::Day.around("2026-11-26T12:00:00Z".parse().unwrap());
            let all = Figures { since, until, spent: Cost(spent), reserved: Cost(reserved) };
            let json = serde_json::to_string(&spending(&all, "x")).unwrap();
            prop_assert_eq!(figures(&serde_json::from_str(&json).unwrap()), all);
        }
    }

    #[test]
    fn a_budget_needs_prices() {
        let spec = |budget| -> ModelProviderSpec {
            serde_json::from_value(json!({
                "openai": {"baseURL": "http://h/v1"}, "budget": budget,
                "prices": {"mine": {"input": 1, "output": 1}},
            }))
            .unwrap()
        };
        let models = ["openai/mine", "openai/gpt-6-sol", "openai/odd"].map(|it| it.parse().unwrap());
        let with = spec(json!({"amount": 5}));
        assert_eq!(unpriced(&with, &models), [models[2].clone()]);
        assert_eq!(unpriced(&spec(json!(null)), &models), []);
    }
}
