//! Exit codes, the same for all subcommands.

use crate::run::Kind;

/// All is done.
pub const DONE: u8 = 0;
/// Something failed that is none of the others.
pub const FAILED: u8 = 1;
/// What was asked for can't be right: arguments, manifest, prompts, a missing key.
pub const USAGE: u8 = 2;
/// There is no sandbox.
pub const SANDBOX: u8 = 3;
/// The database can't be read.
pub const DATABASE: u8 = 4;
/// Pages can't be kept: no such bucket, no right, no room.
pub const STORE: u8 = 5;
/// The model does not answer.
pub const MODEL: u8 = 6;
/// Tokens, money, turns or time are used up.
pub const BUDGET: u8 = 7;
/// The model answers, but makes no page.
pub const AGENT: u8 = 8;
/// Somebody else drives the run.
pub const OVERTAKEN: u8 = 9;
/// Ctrl-C, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// The exit code for a kind of trouble.
pub fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Input => USAGE,
        Kind::Sandbox => SANDBOX,
        Kind::Database => DATABASE,
        Kind::Store => STORE,
        Kind::Model => MODEL,
        Kind::Budget => BUDGET,
        Kind::Agent => AGENT,
        Kind::Overtaken => OVERTAKEN,
        Kind::Interrupted => INTERRUPTED,
    }
}

/// The name of a kind of trouble, for machines.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Input => "input",
        Kind::Sandbox => "sandbox",
        Kind::Database => "database",
        Kind::Store => "store",
        Kind::Model => "model",
        Kind::Budget => "budget",
        Kind::Agent => "agent",
        Kind::Overtaken => "overtaken",
        Kind::Interrupted => "interrupted",
    }
}
