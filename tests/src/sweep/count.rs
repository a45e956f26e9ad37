//! The operator's own count of what it has written, to hold that of the proxies against. Knows names of metrics, and
//! nothing of runs.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::faults::{Place, Points};

/// How long an operator may take to begin, and both counts may be apart: one of them has what is on its way.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// What is counted by which metric, and which values of which label are writes.
const WRITES: [(Place, &str, &[&str]); 3] = [
    (
        Place::Bucket,
        "cataloger_bucket_calls_total",
        &[
            "operation=\"put\"",
            "operation=\"create\"",
            "operation=\"delete\"",
        ],
    ),
    (
        Place::Api,
        "cataloger_api_calls_total",
        &[
            "verb=\"create\"",
            "verb=\"update\"",
            "verb=\"patch\"",
            "verb=\"delete\"",
        ],
    ),
    (Place::Model, "cataloger_model_calls_total", &[""]),
];

/// An address of this machine that nobody listens on.
pub(super) async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

/// Waits until an operator leads.
pub(super) async fn leads(operator: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // It may not listen yet.
        let metrics = scrape(operator).await.unwrap_or_default();
        if sum(&metrics, "cataloger_leader", &[""]) == 1 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("the operator does not lead".to_owned());
        }
        sleep(LOOK).await;
    }
}

/// Waits until an operator has counted as many writes as its proxies; else what both say.
pub(super) async fn compare(operator: SocketAddr, points: &Points) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = scrape(operator).await?;
        let writes = points.writes();
        let both = WRITES.map(|(place, name, labels)| {
            let seen = writes.iter().filter(|point| point.place == place).count();
            (place, sum(&metrics, name, labels), seen)
        });
        if both.iter().all(|(_, counted, seen)| counted == seen) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "the operator counts other writes than the proxies: {both:?}"
            ));
        }
        sleep(LOOK).await;
    }
}

fn sum(metrics: &str, name: &str, labels: &[&str]) -> usize {
    metrics
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| {
            let rest = series.strip_prefix(name);
            rest.is_some_and(|rest| labels.iter().any(|label| rest.contains(label)))
        })
        .filter_map(|(_, value)| value.parse::<usize>().ok())
        .sum()
}

async fn scrape(operator: SocketAddr) -> Result<String, String> {
    let asked = async {
        let mut stream = TcpStream::connect(operator).await?;
        let request = "GET /metrics HTTP/1.1\r\nhost: tests\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    asked
        .await
        .map_err(|error| format!("the operator's metrics can't be read: {error}"))
}
