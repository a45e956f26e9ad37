//! What the operator stands on: who leads, what is measured, whether it is well, which prompts are mounted.
//!
//! It must not know what a Catalog is, nor what a run does.

pub mod api_calls;
mod connection;
pub mod fence;
pub mod health;
pub mod http;
pub mod lease;
pub mod metered;
pub mod metrics;
pub mod prompts;
