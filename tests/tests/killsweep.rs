//! A tenth of the kill sweep, by a seed that is printed: `make killsweep` plays all of it.
//!
//! For the tests' own cluster: elsewhere there are neither its bucket nor its databases.

use std::sync::Arc;

use cataloger_tests::sweep::{Ground, Options, sweep};

/// Its name, for who wants to see the same again.
const SEED: &str = "CATALOGER_TEST_SEED";

fn seed() -> u64 {
    let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("{SEED}={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_at_a_write_goes_on_with_the_run() {
    let Some(ground) = Box::pin(Ground::new("killed")).await else {
        return;
    };
    let options = Options {
        one_of: 10,
        seed: seed(),
        parallel: 4,
        only: None,
    };
    let sum = Box::pin(sweep(Arc::new(ground), &options)).await;
    println!("{sum}");
    assert!(sum.is_clean(), "{sum}");
}
