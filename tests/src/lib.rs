//! What the workspace's tests stand on. Nothing here ships.

pub mod support;
