//! Runs, as a user makes them: the real command, databases and stores, and a played model.

mod input;
mod preflight;
mod resume;
mod scene;
mod whole;
