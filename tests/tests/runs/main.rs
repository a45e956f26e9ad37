//! Runs, as a user makes them: the real command, databases and stores, and a played model.

mod input;
mod resume;
mod scene;
mod whole;
