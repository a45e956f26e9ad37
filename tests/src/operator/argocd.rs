//! What Argo CD makes of objects: `tests/argocd` asks its Lua, with the health checks of `charts/argocd` as kustomize
//! puts them into Argo CD's settings.

use std::io::Write as _;

use serde::Serialize;
use tempfile::NamedTempFile;

use super::verdicts::{Verdict, asked};
use crate::script::{output, repository};

/// How healthy it says each of these is: `Healthy`, `Progressing`, `Suspended`, `Degraded` or `Unknown`.
pub async fn argocd<K: Serialize>(objects: &[K]) -> Vec<Verdict> {
    let checks = repository().join("charts/argocd");
    let checks = checks.to_str().expect("a path is text");
    let settings = output("tests/cluster/kubectl", &["kustomize", checks]).await;
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(settings.as_bytes()).expect("it is written");
    let path = file.path().to_str().expect("a path is text");
    asked("tests/argocd/build", &[path], objects).await
}
