//! What the process itself uses, asked at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::time::{ClockId, clock_gettime};

use crate::sandbox::client;

/// Memory and time of this process, and how often its sandboxes' streams broke.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // Where there is no /proc, nothing is said rather than something wrong.
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::new(bytes);
            gauge.encode(encoder.encode_descriptor(
                "process_resident_memory",
                "Memory of the process that is in use.",
                Some(&Unit::Bytes),
                gauge.metric_type(),
            )?)?;
        }
        let counter = ConstCounter::new(cpu_seconds());
        counter.encode(encoder.encode_descriptor(
            "process_cpu",
            "Time that processors have spent on the process.",
            Some(&Unit::Seconds),
            counter.metric_type(),
        )?)?;
        let counter = ConstCounter::new(client::reconnects());
        counter.encode(encoder.encode_descriptor(
            "sandbox_reconnects",
            "Streams to sandboxes that broke and were opened again.",
            None,
            counter.metric_type(),
        )?)
    }
}

/// What `/proc` says, in bytes.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// Of all its threads.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_something() {
        let bytes = resident_bytes().unwrap();
        assert!(bytes > 1 << 20, "{bytes}");
        let before = cpu_seconds();
        assert!(before > 0.0);
        while cpu_seconds() <= before {}
    }
}
