//! What is counted, and how it is written down.

use super::*;

/// Whether there is a line.
pub(in crate::runtime) fn has(metrics: &Metrics, line: &str) -> bool {
    metrics.encode().unwrap().lines().any(|it| it == line)
}

/// The value of a series.
pub(in crate::runtime) fn value(metrics: &Metrics, series: &str) -> u64 {
    let text = metrics.encode().unwrap();
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    rest.unwrap_or_else(|| panic!("no {series} in {text}"))
        .parse()
        .unwrap()
}

#[test]
fn what_happens_is_counted() {
    let metrics = Metrics::new();
    let again = metrics.clone();
    again.reconciled(Kind::Catalog, Reconciled::Waiting, Duration::from_millis(3));
    again.queued(4);
    again.run_ended(RunOutcome::Adopted, None);
    again.run_ended(RunOutcome::Succeeded, Some(Duration::from_secs(100)));
    again.sandbox_started(SandboxOutcome::Found, Duration::from_millis(50));
    again.bucket_called(
        BucketOperation::Create,
        BucketOutcome::Refused,
        Duration::from_secs(1),
    );
    again.api_called(Verb::Patch, Resource::CatalogsStatus, ApiOutcome::Conflict);
    again.status_written(StatusOutcome::Conflict);
    again.leads(true);
    again.prompts_reloaded(ReloadOutcome::Refused);
    for line in [
        "cataloger_build_info{version=\"0.1.0\"} 1",
        "cataloger_reconciles_total{kind=\"catalog\",outcome=\"waiting\"} 1",
        "cataloger_reconciles_total{kind=\"provider\",outcome=\"error\"} 0",
        "cataloger_reconcile_seconds_bucket{le=\"0.005\",kind=\"catalog\"} 1",
        "cataloger_queue_length 4",
        "cataloger_runs_total{outcome=\"adopted\"} 1",
        "cataloger_run_seconds_sum{outcome=\"succeeded\"} 100.0",
        "cataloger_sandbox_start_seconds_count{outcome=\"found\"} 1",
        "cataloger_bucket_calls_total{operation=\"create\",outcome=\"refused\"} 1",
        "cataloger_api_calls_total{verb=\"patch\",resource=\"catalogs/status\",outcome=\"conflict\"} 1",
        "cataloger_status_writes_total{outcome=\"conflict\"} 1",
        "cataloger_leader 1",
        "cataloger_prompts_reloads_total{outcome=\"refused\"} 1",
    ] {
        assert!(has(&metrics, line), "no {line} in\n{}", metrics.encode().unwrap());
    }
    assert!(
        !metrics
            .encode()
            .unwrap()
            .contains("run_seconds_count{outcome=\"adopted\"}")
    );
    again.leads(false);
    assert!(has(&metrics, "cataloger_leader 0"));
}

/// Prometheus drops a scrape in which a family comes twice, or a sample belongs to none.
#[test]
fn the_text_is_as_a_scraper_wants_it() {
    let metrics = Metrics::new();
    metrics.reconciled(Kind::Provider, Reconciled::Ok, Duration::ZERO);
    metrics.run_ended(RunOutcome::Failed, Some(Duration::from_secs(1)));
    let text = metrics.encode().unwrap();
    assert!(text.ends_with("\n# EOF\n"));
    let mut families: Vec<(&str, &str)> = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(families.iter().all(|(other, _)| *other != name), "{name} twice");
            assert!(name.starts_with("cataloger_"), "{name}");
            families.push((name, kind));
        } else if !line.starts_with('#') {
            let (name, kind) = families.last().unwrap();
            let sample = line.split(['{', ' ']).next().unwrap();
            let ends: &[&str] = match *kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            let end = sample.strip_prefix(name).unwrap();
            assert!(ends.contains(&end), "{line}");
        }
    }
    for family in [
        "process_resident_memory_bytes",
        "process_cpu_seconds",
        "sandbox_reconnects",
    ] {
        let name = format!("cataloger_{family}");
        assert!(families.iter().any(|(it, _)| *it == name), "{name}");
    }
}

#[test]
fn all_that_is_measured_is_described() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `cataloger_"));
    let mut described: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let metrics = Metrics::new();
    // What has no series yet is not written down.
    let took = Duration::ZERO;
    metrics.reconciled(Kind::Catalog, Reconciled::Ok, took);
    metrics.run_ended(RunOutcome::Succeeded, Some(took));
    metrics.sandbox_started(SandboxOutcome::Started, took);
    metrics.bucket_called(BucketOperation::Get, BucketOutcome::Ok, took);
    metrics.api_called(Verb::Get, Resource::Other, ApiOutcome::Ok);
    let text = metrics.encode().unwrap();
    let types = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE cataloger_")?.split_once(' '));
    let mut measured: Vec<String> = types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    described.sort_unstable();
    measured.sort_unstable();
    assert_eq!(described, measured);
    // Also the words of labels, where there are no times.
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_seconds_"))
    {
        let (name, _) = line.split_once(['{', ' ']).unwrap();
        let row = page.lines().find(|row| row.starts_with(&format!("| `{name}`")));
        let words = line.split('"').skip(1).step_by(2);
        for word in words.filter(|word| *word != env!("CARGO_PKG_VERSION")) {
            assert!(row.is_some_and(|row| row.contains(word)), "{word} of {name}");
        }
    }
}
