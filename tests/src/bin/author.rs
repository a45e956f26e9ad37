//! A server of a played model, for trying out `cataloger run` by hand: prints its address, and serves.

use cataloger_tests::author::Author;
use cataloger_tests::model_server::{KEY, ModelServer};

#[tokio::main]
async fn main() {
    let server = ModelServer::start().await;
    server.think(Author::default().brain());
    println!("ANTHROPIC_BASE_URL={} ANTHROPIC_API_KEY={KEY}", server.url());
    std::future::pending::<()>().await;
}
