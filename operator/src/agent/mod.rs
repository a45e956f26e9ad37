//! What drives a model through a task: prompts first.
//!
//! It must not know Kubernetes, HTTP, or where pages are kept.

pub mod prompts;
