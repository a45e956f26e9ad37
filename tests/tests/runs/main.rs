//! Runs, as a user makes them: the real command, databases and stores, and a played model.

mod builtin;
mod input;
mod resume;
mod scene;
mod whole;
