//! Cataloger: living documentation of databases, written by a language model that explores them from
//! within a locked-down Python sandbox.
//!
//! The library holds the rooms; `main.rs` only wires them together.

pub mod agent;
pub mod api;
pub mod crds;
pub mod llm;
pub mod manifest;
pub mod redact;
pub mod run {
    //! One run, from its start to its end.

    pub mod script;
}
pub mod sandbox;
pub mod session;
pub mod store;
