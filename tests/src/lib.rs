//! What the workspace's tests stand on. Nothing here ships.

pub mod container;
pub mod cutting;
pub mod databases;
pub mod measure;
pub mod model_server;
pub mod place;
pub mod s3;
