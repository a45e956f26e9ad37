//! Runs, as a user makes them: the real command, databases and stores, and a played model.

mod budgets;
mod builtin;
mod builtin_server;
mod drift;
mod handover;
mod input;
mod late;
mod orders;
mod preflight;
mod resume;
mod scene;
mod secrets;
mod stage;
mod stops;
mod truth;
mod versions;
mod weather;
mod whole;
