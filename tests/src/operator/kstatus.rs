//! What Flux's own library makes of an object's status: `tests/kstatus` asks it. `kubectl wait` reads the same
//! conditions.

use serde::Serialize;

use super::verdicts::{Verdict, asked};

/// What it says of each of these: `InProgress`, `Failed`, `Current`, `Terminating` or `Unknown`.
pub async fn kstatus<K: Serialize>(objects: &[K]) -> Vec<Verdict> {
    asked("tests/kstatus/build", &[], objects).await
}
