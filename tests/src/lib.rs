//! What the workspace's tests stand on. Nothing here ships.

pub mod author;
pub mod browser;
pub mod cluster;
pub mod command;
pub mod cutting;
pub mod databases;
pub mod faults;
pub mod flux;
pub mod git;
pub mod iam;
pub mod measure;
pub mod model_server;
pub mod operator;
pub mod place;
pub mod proxy;
pub mod relay;
pub mod s3;
pub mod script;
pub mod served;
pub mod sweep;
pub mod volume;

/// The hash of some bytes, as `run.json` has it.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
