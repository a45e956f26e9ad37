//! The subcommands of `cataloger`: arguments in, exit codes out. What they do is in the other rooms.

pub mod arguments;
pub mod comment;
pub mod crds;
pub mod exit;
pub mod local;
pub mod operator;
pub mod place;
mod reference;
pub mod run;
pub mod selftest;
pub mod session;
mod show;
pub mod version;
mod wish;
