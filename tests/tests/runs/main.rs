//! Runs, as a user makes them: the real command, databases and stores, and a played model.

mod budgets;
mod resume;
mod scene;
mod stage;
mod whole;
