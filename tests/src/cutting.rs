//! Streams that break: a dial whose connections are cut after a random number of bytes, either way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::{fmt, io};

use async_trait::async_trait;
use cataloger::sandbox::client::{Connection, Dial, DialError};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Cuts what another dial opens.
pub struct Cutting<D> {
    inner: D,
    random: Mutex<StdRng>,
    mean: u64,
    cuts: Arc<AtomicU64>,
}

impl<D> fmt::Debug for Cutting<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cutting")
            .field("mean", &self.mean)
            .finish_non_exhaustive()
    }
}

impl<D> Cutting<D> {
    /// Cuts after up to twice `mean` bytes in one of the directions.
    pub fn new(inner: D, seed: u64, mean: u64) -> Self {
        Self {
            inner,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            mean,
            cuts: Arc::default(),
        }
    }

    /// How often a stream was cut so far.
    pub fn cuts(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.cuts)
    }
}

#[async_trait]
impl<D: Dial> Dial for Cutting<D> {
    async fn dial(&self) -> Result<Connection, DialError> {
        let connection = self.inner.dial().await?;
        let (reading, offset) = {
            let mut random = self.random.lock().expect("nobody panics with it");
            (random.random_bool(0.5), random.random_range(0..=2 * self.mean))
        };
        let shears = |cuts: bool| Shears {
            left: if cuts { offset } else { u64::MAX },
            counted: false,
            cuts: Arc::clone(&self.cuts),
        };
        Ok(Connection {
            reader: Box::new(Cut {
                inner: connection.reader,
                shears: shears(reading),
            }),
            writer: Box::new(Cut {
                inner: connection.writer,
                shears: shears(!reading),
            }),
            guard: connection.guard,
        })
    }
}

struct Shears {
    left: u64,
    counted: bool,
    cuts: Arc<AtomicU64>,
}

impl Shears {
    fn cut(&mut self) -> io::Error {
        if !self.counted {
            self.counted = true;
            self.cuts.fetch_add(1, Ordering::Relaxed);
        }
        io::Error::from(io::ErrorKind::ConnectionReset)
    }
}

struct Cut<T> {
    inner: T,
    shears: Shears,
}

impl<R: AsyncRead + Unpin> AsyncRead for Cut<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.shears.left == 0 {
            return Poll::Ready(Err(self.shears.cut()));
        }
        let most = usize::try_from(self.shears.left)
            .unwrap_or(usize::MAX)
            .min(buffer.remaining());
        let mut scratch = vec![0; most];
        let mut part = ReadBuf::new(&mut scratch);
        let polled = Pin::new(&mut self.inner).poll_read(context, &mut part);
        buffer.put_slice(part.filled());
        self.shears.left -= part.filled().len() as u64;
        polled
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Cut<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.shears.left == 0 {
            return Poll::Ready(Err(self.shears.cut()));
        }
        let most = usize::try_from(self.shears.left)
            .unwrap_or(usize::MAX)
            .min(data.len());
        let polled = Pin::new(&mut self.inner).poll_write(context, &data[..most]);
        if let Poll::Ready(Ok(written)) = polled {
            self.shears.left -= written as u64;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
