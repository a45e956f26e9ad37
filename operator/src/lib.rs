//! Cataloger: living documentation of databases, written by a language model that explores them from
//! within a locked-down Python sandbox.
//!
//! The library holds the rooms; `main.rs` only wires them together.

pub mod agent;
pub mod api;
pub mod commands;
pub mod controllers;
pub mod cron;
pub mod html;
pub mod llm;
pub mod logs;
pub mod manifest;
pub mod models;
pub mod redact;
pub mod run;
pub mod runtime;
pub mod sandbox;
pub mod sessions;
pub mod store;
