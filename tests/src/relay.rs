//! Stands between a program and any TCP server, and cuts its connections after a random number of bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The relay. It ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    cuts: Arc<AtomicU64>,
    now: watch::Sender<()>,
    accepting: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Relay {
    /// Starts one before the server at an address. Each connection is cut after up to twice `mean` bytes in one of the
    /// directions.
    pub async fn start(upstream: String, seed: u64, mean: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port of the loopback");
        let address = listener.local_addr().expect("the address of a listener");
        let cuts = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&cuts);
        let (now, told) = watch::channel(());
        let accepting = tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            while let Ok((down, _)) = listener.accept().await {
                let left = random.random_range(0..=2 * mean);
                let limits = if random.random_bool(0.5) {
                    (left, u64::MAX)
                } else {
                    (u64::MAX, left)
                };
                let (upstream, cuts) = (upstream.clone(), Arc::clone(&counting));
                let mut now = told.clone();
                now.mark_unchanged();
                tokio::spawn(async move {
                    if let Ok(up) = TcpStream::connect(&upstream).await {
                        let cut = tokio::select! {
                            cut = pass(down, up, limits) => cut,
                            changed = now.changed() => changed.is_ok(),
                        };
                        if cut {
                            cuts.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        })
        .abort_handle();
        Self {
            address,
            cuts,
            now,
            accepting,
        }
    }

    /// Cuts all connections that there are.
    pub fn cut(&self) {
        self.now.send_replace(());
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.cuts)
    }
}

/// Passes bytes both ways until either side ends, or so many have passed in a direction: whether it was that.
async fn pass(down: TcpStream, up: TcpStream, (forth, back): (u64, u64)) -> bool {
    let ((from_down, to_down), (from_up, to_up)) = (down.into_split(), up.into_split());
    tokio::select! {
        cut = one_way(from_down, to_up, forth) => cut,
        cut = one_way(from_up, to_down, back) => cut,
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut left: u64) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let pass = usize::try_from(left).unwrap_or(usize::MAX).min(read);
        left -= pass as u64;
        if to.write_all(&buffer[..pass]).await.is_err() {
            return false;
        }
        if pass < read {
            return true;
        }
    }
    false
}
