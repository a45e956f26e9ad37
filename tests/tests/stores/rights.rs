//! The policies of `docs/storage.md`, by a server that judges by them: they are enough, each of their rights is needed,
//! and what they don't grant is refused.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use cataloger::run;
use cataloger::store::layout::RunId;
use cataloger::store::{Depth, Key, Layout, Listing, Problem, Store, StoreError};
use cataloger_tests::command::{Cataloger, Output};
use cataloger_tests::databases;
use cataloger_tests::iam::{Guarded, User};
use cataloger_tests::script::repository;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{TEXT, key};

/// The bucket of the policies, and a Catalog in it.
const BUCKET: &str = "documentation";
const PREFIX: &str = "catalogs/sales/shop";

/// The only policy of the documentation that has a word.
fn documented(word: &str) -> String {
    let page = std::fs::read_to_string(repository().join("docs/storage.md")).unwrap();
    let blocks = page.split("```json\n").skip(1);
    let mut found =
        blocks.filter_map(|block| Some(block.split_once("```")?.0).filter(|it| it.contains(word)));
    let policy = found.next().unwrap_or_else(|| panic!("no policy has {word}"));
    assert!(found.next().is_none(), "more than one policy has {word}");
    policy.to_owned()
}

/// A server, and a user of it who may do what the documentation lets the operator do.
async fn granted() -> (Guarded, User) {
    let server = Guarded::start(BUCKET);
    let operator = server.user("operator").await;
    server.grant(&operator, &documented("s3:PutObject")).await;
    (server, operator)
}

/// Runs `cataloger` as that user.
async fn cataloger(server: &Guarded, user: &User, arguments: &[&str], database: &str) -> Output {
    let output = Cataloger::new(arguments)
        .await
        .env("DATABASE_URL", database)
        .env("AWS_ENDPOINT_URL_S3", server.endpoint())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", &user.id)
        .env("AWS_SECRET_ACCESS_KEY", &user.secret)
        .run()
        .await;
    assert_eq!(output.code(), Some(0), "{arguments:?}: {}", output.stderr);
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough() {
    let (server, operator) = granted().await;
    let directory = tempfile::tempdir().unwrap();
    // The sandbox has a user of its own.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = directory.path().join("shop.db");
    databases::sqlite(&file, "CREATE TABLE orders (id integer, state text)");
    let database = format!("sqlite:///{}", file.display());

    // The proof of the bucket, a run, and another that reads what the first has left.
    let place = format!("s3://{BUCKET}/{PREFIX}");
    let ran = ["run", "--model", "builtin", "--table", "*", "--output", &place];
    for _ in 0..2 {
        let output = cataloger(&server, &operator, &ran, &database).await;
        assert!(!output.stderr.contains("403"), "{}", output.stderr);
    }
    let store = server.store(&operator).await;
    let layout = Layout::new(PREFIX.parse().unwrap());
    let runs = layout.runs(&store).await.unwrap();
    assert_eq!(runs.len(), 2);
    let newest = runs.iter().max().copied().unwrap();
    let summary = store.get(&layout.summary(newest)).await.unwrap();
    let summary = String::from_utf8(summary.unwrap().content.to_vec()).unwrap();
    assert!(summary.contains("No changes"), "{summary}");

    // What else is done to a bucket: a comment, and old runs go.
    let said = ["comment", "what is a state?", "--output", &place];
    cataloger(&server, &operator, &said, &database).await;
    let cancel = CancellationToken::new();
    let gone = run::retain(&store, &layout, &cancel, 1, &[]).await.unwrap();
    let older: Vec<RunId> = runs.iter().copied().filter(|run| *run != newest).collect();
    assert_eq!(gone, older);
    let last = run::last_good(&store, &layout, &cancel).await.unwrap();
    assert_eq!(last.unwrap().run, newest);

    // It is not the server that lets anybody do this.
    let nobody = server.user("nobody").await;
    assert_eq!(refused(&server, &nobody, PREFIX).await, all());
}

/// What is done to objects, by the right that it takes.
const RIGHTS: [&str; 4] = ["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"];

fn all() -> BTreeSet<&'static str> {
    RIGHTS.into()
}

/// The rights that a user has not got, in a folder.
async fn refused(server: &Guarded, user: &User, folder: &str) -> BTreeSet<&'static str> {
    let store = server.store(user).await;
    let name = key(&format!("{folder}/20261121T120000Z/catalog.html"));
    let within = Listing::of(Some(Key::new(folder).unwrap()), Depth::Everything);
    let put = store.put(&name, Bytes::from_static(b"x"), TEXT).await;
    let create = store.create(&name, Bytes::from_static(b"x"), TEXT).await;
    let get = store.get(&name).await;
    let head = store.head(&name).await;
    let list = store.list(&within).await;
    let delete = store.delete(&name).await;
    let said = [
        ("s3:PutObject", is_denied(put)),
        ("s3:PutObject", is_denied(create)),
        ("s3:GetObject", is_denied(get)),
        ("s3:GetObject", is_denied(head)),
        ("s3:ListBucket", is_denied(list)),
        ("s3:DeleteObject", is_denied(delete)),
    ];
    let (denied, granted): (Vec<_>, Vec<_>) = said.into_iter().partition(|(_, denied)| *denied);
    let denied: BTreeSet<_> = denied.into_iter().map(|(right, _)| right).collect();
    assert!(!granted.iter().any(|(right, _)| denied.contains(right)));
    denied
}

fn is_denied<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    match result {
        Ok(_) => false,
        Err(error) => {
            assert!(matches!(error.problem, Problem::Denied { .. }), "{error}");
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_of_the_operator_is_needed() {
    let (server, operator) = granted().await;
    assert_eq!(refused(&server, &operator, PREFIX).await, BTreeSet::new());
    let policy: Value = serde_json::from_str(&documented("s3:PutObject")).unwrap();
    let mut tried = BTreeSet::new();
    for right in RIGHTS {
        let mut less = policy.clone();
        for statement in less["Statement"].as_array_mut().unwrap() {
            let actions = match &statement["Action"] {
                Value::String(one) => vec![one.clone()],
                several => serde_json::from_value(several.clone()).unwrap(),
            };
            tried.extend(actions.clone());
            let rest: Vec<String> = actions.into_iter().filter(|action| action != right).collect();
            statement["Action"] = rest.into();
        }
        let statements = less["Statement"].as_array_mut().unwrap();
        statements.retain(|statement| statement["Action"] != Value::Array(Vec::new()));
        server.grant(&operator, &less.to_string()).await;
        let denied = refused(&server, &operator, PREFIX).await;
        assert_eq!(denied, BTreeSet::from([right]), "{less}");
    }
    assert_eq!(tried, RIGHTS.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_granted() {
    let (server, operator) = granted().await;
    for elsewhere in ["other", "catalog", "catalogs-of-others/sales/shop"] {
        assert_eq!(refused(&server, &operator, elsewhere).await, all(), "{elsewhere}");
    }
    let everything = Listing::of(None, Depth::Everything);
    assert!(is_denied(server.store(&operator).await.list(&everything).await));
    for (method, query) in [
        ("DELETE", ""),
        ("DELETE", "policy="),
        ("GET", "policy="),
        ("GET", "uploads="),
        ("GET", "versioning="),
    ] {
        let status = server.status(&operator, method, query).await;
        assert_eq!(status, 403, "{method} {query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_pages_read_pages() {
    let (server, operator) = granted().await;
    let store = server.store(&operator).await;
    let layout = Layout::new(PREFIX.parse().unwrap());
    let run: RunId = "20261121T120000Z".parse().unwrap();
    let pages = [layout.catalog(run), layout.summary(run)];
    let others = [
        layout.run(run),
        layout.catalog_script(run),
        layout.entry(run, 1).unwrap(),
    ];
    for name in pages.iter().chain(&others) {
        store.put(name, Bytes::from_static(b"x"), TEXT).await.unwrap();
    }
    let reader = server.user("reader").await;
    server.grant(&reader, &documented("recent_summary.html")).await;
    let store = server.store(&reader).await;
    for page in &pages {
        assert!(store.get(page).await.unwrap().is_some(), "{page}");
    }
    for other in &others {
        assert!(is_denied(store.get(other).await), "{other}");
    }
    let missing = refused(&server, &reader, PREFIX).await;
    assert_eq!(
        missing,
        ["s3:DeleteObject", "s3:ListBucket", "s3:PutObject"].into()
    );
}

/// Whom a role trusts: the service has it for well-formed, and would not have anything for that.
#[tokio::test(flavor = "multi_thread")]
async fn the_trust_of_the_role_is_well_formed() {
    let server = Guarded::start(BUCKET);
    let trust = documented("sts:AssumeRoleWithWebIdentity");
    for (document, good) in [
        (trust.clone(), true),
        (
            trust.replace("sts:AssumeRoleWithWebIdentity", "s3:GetObject"),
            false,
        ),
        (trust.replace("\"Principal\"", "\"Principals\""), false),
    ] {
        let document = format!("AssumeRolePolicyDocument={document}");
        let said = server
            .answer(&["Action=CreateRole", "RoleName=cataloger", &document])
            .await;
        assert_eq!(said.contains("<CreateRoleResult>"), good, "{said}");
    }
}
