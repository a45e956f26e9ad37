//! What tokens cost. The rates are data (`prices.json`, with its date) and can be overridden; a model whose
//! rates are not known has no cost, which is not a cost of nothing.
//!
//! All is counted in integers: a rate in millionths of a dollar for a million tokens, a cost in millionths of
//! a dollar, rounded up once for each request.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::str::FromStr;
use std::sync::LazyLock;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::{Attempt, ModelSpec, Provider, Turn, Usage};

/// An amount of money, in millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cost(pub u64);

impl Cost {
    /// As dollars, for people.
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 for any run")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The sum, or the most that there can be.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest % 10_000 == 0 {
            write!(formatter, "${dollars}.{:02}", rest / 10_000)
        } else {
            let rest = format!("{rest:06}");
            write!(formatter, "${dollars}.{}", rest.trim_end_matches('0'))
        }
    }
}

/// Not an amount of dollars.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not an amount of US dollars such as 2, 2.50 or $0.000125 (with at most six decimals)")]
pub struct NotAnAmount(String);

/// Millionths of a dollar out of a decimal number. Exact, or an error.
fn micro_dollars(text: &str) -> Result<u64, NotAnAmount> {
    let wrong = || NotAnAmount(text.chars().take(40).collect());
    let number = text.trim();
    let number = number.strip_prefix('$').unwrap_or(number);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(1_000_000)
        .and_then(|whole| whole.checked_add(part))
        .ok_or_else(wrong)
}

impl FromStr for Cost {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        micro_dollars(text).map(Self)
    }
}

/// What a million tokens cost, in millionths of a US dollar. In data: dollars, as text or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rate(pub u64);

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Cost(self.0).to_string().trim_start_matches('$'))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dollars;
        impl Visitor<'_> for Dollars {
            type Value = Rate;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an amount of US dollars for a million tokens")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
                micro_dollars(text).map(Rate).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Rate, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Rate, E> {
                self.visit_str(&number.to_string())
            }

            // As text it is what was written: the shortest decimal that gives the same float.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Rate, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Dollars)
    }
}

/// What a model costs. Where a cache's rate is not given, its tokens cost what other input does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelPrice {
    /// Input that is not cached.
    pub input: Rate,
    /// Output.
    pub output: Rate,
    /// Input that is written to a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Rate>,
    /// Input that is read from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Rate>,
    /// Other rates for long prompts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<Tier>,
}

/// The rates of requests with a long prompt, for all of their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tier {
    /// For prompts of more tokens than this, cached ones included.
    pub prompt_tokens: u64,
    /// Input that is not cached.
    pub input: Rate,
    /// Output.
    pub output: Rate,
    /// Input that is written to a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Rate>,
    /// Input that is read from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Rate>,
}

impl ModelPrice {
    /// What one request costs. Not for sums of several: the rates may depend on the size of each.
    pub fn cost(&self, usage: Usage) -> Cost {
        let tier = self
            .above
            .iter()
            .filter(|tier| usage.prompt() > tier.prompt_tokens)
            .max_by_key(|tier| tier.prompt_tokens);
        let (input, output, cache_write, cache_read) = tier.map_or(
            (self.input, self.output, self.cache_write, self.cache_read),
            |tier| (tier.input, tier.output, tier.cache_write, tier.cache_read),
        );
        let of = |tokens: u64, rate: Rate| u128::from(tokens) * u128::from(rate.0);
        // The products fit into 128 bits, their sum need not.
        let millionths = [
            of(usage.input, input),
            of(usage.output, output),
            of(usage.cache_write, cache_write.unwrap_or(input)),
            of(usage.cache_read, cache_read.unwrap_or(input)),
        ]
        .into_iter()
        .fold(0_u128, u128::saturating_add);
        Cost(u64::try_from(millionths.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

impl ModelPrice {
    /// What one request costs at most, whatever a cache makes of its prompt, and however much shorter it is.
    pub fn at_most(&self, prompt: u64, output: u64) -> Cost {
        let tiers = self
            .above
            .iter()
            .filter(|tier| prompt > tier.prompt_tokens)
            .map(|tier| (tier.input, tier.output, tier.cache_write, tier.cache_read));
        std::iter::once((self.input, self.output, self.cache_write, self.cache_read))
            .chain(tiers)
            .map(|(input, rate, cache_write, cache_read)| {
                let dearest = Self {
                    input: input
                        .max(cache_write.unwrap_or(input))
                        .max(cache_read.unwrap_or(input)),
                    output: rate,
                    ..Self::default()
                };
                dearest.cost(Usage {
                    input: prompt,
                    output,
                    ..Usage::default()
                })
            })
            .max()
            .unwrap_or_default()
    }
}

/// What it costs to ask nobody.
static NOTHING: ModelPrice = ModelPrice {
    input: Rate(0),
    output: Rate(0),
    cache_write: None,
    cache_read: None,
    above: Vec::new(),
};

/// What models cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prices {
    /// The date of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// In what, to the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// What else a reader should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// By provider and name.
    pub models: BTreeMap<Provider, BTreeMap<String, ModelPrice>>,
}

impl Prices {
    /// The rates that Cataloger comes with.
    pub fn bundled() -> &'static Self {
        static BUNDLED: LazyLock<Prices> = LazyLock::new(|| {
            #[expect(clippy::expect_used, reason = "a test reads the same bytes")]
            serde_json::from_str(include_str!("prices.json")).expect("prices.json is part of the program")
        });
        &BUNDLED
    }

    /// Reads rates as JSON, in the form of the bundled ones.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Sets the rates of a model.
    pub fn set(&mut self, model: &ModelSpec, price: ModelPrice) {
        self.models
            .entry(model.provider)
            .or_default()
            .insert(model.name.clone(), price);
    }

    /// Takes over all rates of `others`.
    pub fn override_with(&mut self, others: &Self) {
        for (provider, models) in &others.models {
            let mine = self.models.entry(*provider).or_default();
            mine.extend(models.iter().map(|(name, price)| (name.clone(), price.clone())));
        }
    }

    /// What a model costs, if that is known. A date at the end of the name does not matter. The builtin one costs
    /// nothing, unless somebody says otherwise.
    pub fn get(&self, model: &ModelSpec) -> Option<&ModelPrice> {
        let known = self.models.get(&model.provider).and_then(|models| {
            models
                .get(&model.name)
                .or_else(|| models.get(without_date(&model.name)?))
        });
        known.or_else(|| (model.provider == Provider::Builtin).then_some(&NOTHING))
    }

    /// What a turn cost, failed attempts included; none if the rates of a model that used something are not
    /// known.
    pub fn cost_of(&self, turn: &Turn) -> Option<Cost> {
        let answered = ModelSpec {
            provider: turn.asked.provider,
            name: turn.model.clone(),
        };
        let price = self.get(&turn.asked).or_else(|| self.get(&answered))?;
        Some(price.cost(turn.usage) + self.cost_of_attempts(&turn.attempts)?)
    }

    /// What failed attempts cost; none if the rates of a model that used something are not known.
    pub fn cost_of_attempts(&self, attempts: &[Attempt]) -> Option<Cost> {
        attempts
            .iter()
            .filter(|attempt| attempt.spent != Usage::default())
            .map(|attempt| Some(self.get(&attempt.asked)?.cost(attempt.spent)))
            .sum()
    }
}

/// `claude-x-20260901` and `gpt-x-2026-09-01` without their dates.
fn without_date(name: &str) -> Option<&str> {
    let undashed = |date: &str| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
    let dashed = |date: &str| {
        let parts: Vec<&str> = date.split('-').collect();
        parts.iter().map(|part| part.len()).eq([4, 2, 2]) && undashed(&parts.concat())
    };
    // The tails that a date can have, of 8 and of 10 characters; names that are cut within a letter have none.
    [(9, &undashed as &dyn Fn(&str) -> bool), (11, &dashed)]
        .into_iter()
        .find_map(|(length, is_date)| {
            let (base, tail) = name.split_at_checked(name.len().checked_sub(length)?)?;
            is_date(tail.strip_prefix('-')?).then_some(base)
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::turn;
    use super::*;

    fn spec(text: &str) -> ModelSpec {
        text.parse().unwrap()
    }

    fn usage(input: u64, output: u64, cache_write: u64, cache_read: u64) -> Usage {
        Usage {
            input,
            output,
            cache_write,
            cache_read,
        }
    }

    #[test]
    fn the_bundled_data_is_right() {
        let prices = Prices::bundled();
        assert_eq!(prices.as_of.as_deref().map(str::len), Some(10));
        for price in prices.models.values().flat_map(BTreeMap::values) {
            assert!(price.input > Rate(0) && price.output > price.input);
            assert!(price.cache_read < Some(price.input) && price.cache_write >= Some(price.input));
        }
        let again = Prices::parse(&serde_json::to_string(prices).unwrap()).unwrap();
        assert_eq!(&again, prices);
    }

    #[test]
    fn every_kind_of_token_has_its_price() {
        let price = Prices::bundled()
            .get(&spec("anthropic/claude-sonnet-5-5"))
            .unwrap();
        assert_eq!(price.cost(usage(1_000_000, 0, 0, 0)).to_string(), "$2.00");
        assert_eq!(price.cost(usage(0, 1_000_000, 0, 0)).to_string(), "$10.00");
        assert_eq!(price.cost(usage(0, 0, 1_000_000, 0)).to_string(), "$2.50");
        assert_eq!(price.cost(usage(0, 0, 0, 1_000_000)).to_string(), "$0.10");
        // A tenth of a millionth is rounded up, once.
        assert_eq!(price.cost(usage(0, 0, 0, 1)), Cost(1));
        assert_eq!(price.cost(usage(0, 0, 0, 11)), Cost(2));
        assert_eq!(
            price.cost(usage(u64::MAX, u64::MAX, u64::MAX, u64::MAX)),
            Cost(u64::MAX)
        );
    }

    #[test]
    fn long_prompts_have_their_own_rates() {
        let price = Prices::bundled()
            .get(&spec("anthropic/claude-haiku-5-5"))
            .unwrap();
        assert_eq!(
            price.cost(usage(1, 1_000_000, 9_999, 90_000)),
            Cost(500_000 + 1_250 + 900)
        );
        assert_eq!(
            price.cost(usage(2, 1_000_000, 9_999, 90_000)),
            Cost(2_500_000 + 6_250 + 4_500 + 1)
        );
    }

    #[test]
    fn the_most_is_the_dearest_rate_of_all_that_may_hold() {
        let price = Prices::bundled()
            .get(&spec("anthropic/claude-haiku-5-5"))
            .unwrap();
        assert_eq!(price.at_most(100_000, 1_000_000), Cost(12_500 + 500_000));
        assert_eq!(price.at_most(100_001, 1_000_000), Cost(62_501 + 2_500_000));
        // A rate that falls.
        let mut odd = ModelPrice {
            input: Rate(9),
            output: Rate(9_000_000),
            ..ModelPrice::default()
        };
        odd.above.push(Tier {
            prompt_tokens: 10,
            output: Rate(1),
            cache_read: Some(Rate(7_000_000)),
            ..Tier::default()
        });
        assert_eq!(odd.at_most(11, 5), Cost(77 + 1));
        assert_eq!(odd.at_most(11, 50), Cost(450 + 1));
        assert_eq!(odd.at_most(u64::MAX, u64::MAX), Cost(u64::MAX));
    }

    #[test]
    fn unknown_is_not_free() {
        let prices = Prices::bundled();
        for name in [
            "anthropic/claude-sonnet-5",
            "anthropic/claude-sonnet-5-5-fast",
            "openai/claude-sonnet-5-5",
        ] {
            assert_eq!(prices.get(&spec(name)), None, "{name}");
        }
        for name in [
            "anthropic/claude-sonnet-5-5-20260914",
            "openai/gpt-6-sol-2026-09-22",
        ] {
            assert!(prices.get(&spec(name)).is_some(), "{name}");
        }
        assert_eq!(without_date("é-2026090"), None);
        assert_eq!(prices.cost_of(&turn("openai/unknown", &[])), None);
    }

    #[test]
    fn failed_attempts_cost() {
        let mut turn = turn("anthropic/claude-sonnet-5-5", &[]);
        turn.usage = usage(500_000, 0, 0, 0);
        let failed = |asked: &str, output| Attempt {
            asked: spec(asked),
            problem: "no".into(),
            spent: usage(0, output, 0, 0),
            waited: Duration::ZERO,
        };
        turn.attempts = vec![
            failed("anthropic/claude-opus-5-5", 50_000),
            failed("openai/unknown", 0),
        ];
        assert_eq!(Prices::bundled().cost_of(&turn).unwrap().to_string(), "$2.00");
        turn.attempts.push(failed("openai/unknown", 1));
        assert_eq!(Prices::bundled().cost_of(&turn), None);
    }

    #[test]
    fn rates_can_be_overridden() {
        let mut prices = Prices::bundled().clone();
        let mine = Prices::parse(r#"{"models":{"openai":{"mine":{"input":0.0375,"output":3}}}}"#).unwrap();
        prices.override_with(&mine);
        let price = prices.get(&spec("openai/mine")).unwrap();
        assert_eq!((price.input, price.output), (Rate(37_500), Rate(3_000_000)));
        // Where a cache has no rate, its tokens are input.
        assert_eq!(price.cost(usage(0, 0, 1_000_000, 1_000_000)), Cost(75_000));
        for wrong in ["-1", "\"1,5\"", "\"\"", "\".5\"", "0.0000001", "\"1e3\"", "null"] {
            let json = format!(r#"{{"models":{{"openai":{{"mine":{{"input":{wrong},"output":3}}}}}}}}"#);
            assert!(Prices::parse(&json).is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_exact() {
        for (text, cost) in [("2", 2_000_000), ("$2.50", 2_500_000), (" 0.000125 ", 125)] {
            assert_eq!(text.parse(), Ok(Cost(cost)));
        }
        assert_eq!(Cost(2_500_000).to_string(), "$2.50");
        assert_eq!(Cost(1_234_500).to_string(), "$1.2345");
        assert_eq!(Cost(7).to_string(), "$0.000007");
        assert!("99999999999999999999".parse::<Cost>().is_err());
    }
}
