//! The same manifest by the operator, in a Pod, and by `cataloger run -f`, in a process of this machine: what is tried
//! out before it is committed is what comes of it.

use std::collections::BTreeMap;
use std::path::Path;

use cataloger::api::Catalog;
use cataloger_tests::command::Cataloger;
use cataloger_tests::operator::{Operator, Tenant, read};
use cataloger_tests::served::Served;
use serde_json::{Value, json};

use crate::WHOLE;

/// What a run has published: by the names of the objects, without the folder.
type Pages = BTreeMap<String, String>;

/// What the operator has published.
async fn published(tenant: &Tenant<'_>, catalog: &Catalog) -> (String, Pages) {
    let name = catalog.metadata.name.as_deref().unwrap();
    let artifacts = catalog.status.as_ref().unwrap().artifacts.as_ref().unwrap();
    let id = artifacts.timestamp.clone();
    let folder = artifacts.catalog.strip_suffix("catalog.html").unwrap();
    let mut pages = Pages::new();
    for object in tenant.objects(name).await {
        if let Some(object) = object.strip_prefix(&format!("{id}/")) {
            let content = read(&format!("{folder}{object}")).await;
            pages.insert(object.to_owned(), String::from_utf8(content.to_vec()).unwrap());
        }
    }
    (id, pages)
}

/// What the command has published into a directory, beside the runs that were there before.
fn written(directory: &Path, before: &[String]) -> (String, Pages) {
    let folders = std::fs::read_dir(directory).unwrap();
    let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    let runs: Vec<String> = names
        .filter(|name| !name.starts_with('.') && !before.contains(name))
        .collect();
    let [id] = &runs[..] else {
        panic!("one run: {runs:?}")
    };
    let files = std::fs::read_dir(directory.join(id)).unwrap().map(|file| {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        (name, std::fs::read_to_string(file.path()).unwrap())
    });
    (id.clone(), files.collect())
}

/// A text without what tells some runs from others: their ids, when they began, and by which name they know the server.
/// A Pod asks for the Service by its name, which this machine can't look up: it takes the address.
fn without(text: &str, runs: &[String], host: &str) -> String {
    let mut text = text.replace(host, "HOST");
    for (at, id) in runs.iter().enumerate() {
        let (day, hour) = (format!("{}-{}-{}", &id[..4], &id[4..6], &id[6..8]), &id[9..]);
        let hour = format!("{}:{}:{}", &hour[..2], &hour[2..4], &hour[4..6]);
        text = text
            .replace(id, &format!("RUN {at}"))
            .replace(&format!("{day} {hour}"), &format!("DAY HOUR {at}"))
            .replace(&format!("{day}T{hour}"), &format!("DAYTHOUR {at}"));
    }
    text
}

/// A run's record without what is about the run itself: when it was, which order it fills, where its pages and its
/// database are, and the hashes of pages that name those.
fn report(text: &str) -> Value {
    let mut report: Value = serde_json::from_str(text).unwrap();
    for part in [
        "run",
        "startedAt",
        "finishedAt",
        "seconds",
        "order",
        "subject",
        "fingerprint",
        "objects",
    ] {
        report.as_object_mut().unwrap().remove(part);
    }
    for (of, part) in [
        ("asked", "database"),
        ("asked", "storage"),
        ("catalog", "beganAt"),
        ("catalog", "seconds"),
        ("summary", "beganAt"),
        ("summary", "seconds"),
    ] {
        report[of].as_object_mut().unwrap().remove(part).unwrap();
    }
    // A manifest need not say its namespace.
    report["manifest"]["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("namespace");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_makes_what_the_operator_makes() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    // Now, since the server does it some time by itself, and tables are larger after it.
    shop.execute("VACUUM (ANALYZE)");
    let name = tenant.unique("same");
    tenant.begin(&name, &shop.reader(), json!({})).await;

    let directory = tempfile::tempdir().unwrap();
    let (manifest, output) = (
        directory.path().join("catalog.yaml"),
        directory.path().join("pages"),
    );
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name}, "stringData": {"url": shop.reader_from_here()},
    });
    // JSON is YAML.
    let documents = format!("{}\n---\n{secret}\n", tenant.catalog(&name, json!({})));
    std::fs::write(&manifest, documents).unwrap();
    let (host, address) = (shop.place().0, shop.address());
    let (mut here, mut there) = (Vec::new(), Vec::new());
    // The second has a past: the first one.
    for value in ["", "again"] {
        if !value.is_empty() {
            tenant.again(&name, value).await;
        }
        let command = Cataloger::new(["run", "--model", "builtin", "-f"]).await;
        let run = command
            .argument(&manifest)
            .argument("--output")
            .argument(&output)
            .run()
            .await;
        assert_eq!(run.code(), Some(0), "{}", run.stderr);
        let (id, command) = written(&output, &here);
        here.insert(0, id);
        let (id, operator) = published(&tenant, &tenant.succeeded(&name).await).await;
        there.insert(0, id);
        assert_eq!(command.keys().collect::<Vec<_>>(), WHOLE);
        assert_eq!(operator.keys().collect::<Vec<_>>(), WHOLE);
        let pages = |pages: Pages, runs: &[String], host: &str| -> Pages {
            let pages = pages.into_iter();
            pages
                .map(|(object, text)| (object, without(&text, runs, host)))
                .collect()
        };
        let (mut command, mut operator) = (pages(command, &here, address), pages(operator, &there, &host));
        // The record, too.
        let records = [&mut command, &mut operator].map(|pages| report(&pages.remove("run.json").unwrap()));
        assert_eq!(records[0], records[1], "{value:?}");
        for (object, text) in &command {
            // Byte for byte: the pages, and the code that makes them again.
            assert_eq!(*text, operator[object], "{object}, {value:?}");
        }
    }
}
