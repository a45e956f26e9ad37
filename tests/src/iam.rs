//! An S3 server whose users may do what policies say: versitygw, with its own IAM service beside it, which judges as
//! AWS documents it. It must not know what a policy is for.

use std::process::{Child, Stdio};
use std::time::Duration;

use cataloger::store::s3::S3Credentials;
use cataloger::store::{S3Options, S3Store};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::s3::{ID, SECRET, Server, versitygw};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Both servers. They end when it is dropped.
#[derive(Debug)]
pub struct Guarded {
    gateway: Server,
    service: Child,
    address: String,
    bucket: String,
    _directory: TempDir,
}

/// Somebody with a pair of keys.
#[derive(Debug, Clone)]
pub struct User {
    /// The name, by which rights are given.
    pub name: String,
    /// The name of the key.
    pub id: String,
    /// The key.
    pub secret: String,
}

impl Guarded {
    /// Starts both, with an empty bucket.
    pub fn start(bucket: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = directory.path().join("kept");
        std::fs::create_dir(&kept).expect("a directory");
        let (kept, socket) = (kept, directory.path().join("socket"));
        let socket = socket.to_str().expect("a path is text");
        let kept = kept.to_str().expect("a path is text");
        let arguments = ["iam", "--dir", kept, "--private-ports", socket];
        let (service, address) = versitygw(directory.path(), "127.0.0.1", (ID, SECRET), &arguments);
        Self {
            gateway: Server::start_with(bucket, &["--iam-standalone-endpoint", socket]),
            service,
            address,
            bucket: bucket.to_owned(),
            _directory: directory,
        }
    }

    /// Where the bucket is.
    pub fn endpoint(&self) -> &str {
        self.gateway.endpoint()
    }

    /// Makes a user, who may do nothing yet.
    pub async fn user(&self, name: &str) -> User {
        let name_is = format!("UserName={name}");
        self.asked(&["Action=CreateUser", &name_is]).await;
        let made = self.asked(&["Action=CreateAccessKey", &name_is]).await;
        User {
            name: name.to_owned(),
            id: element(&made, "AccessKeyId"),
            secret: element(&made, "SecretAccessKey"),
        }
    }

    /// Lets a user do what a policy says, and nothing else.
    pub async fn grant(&self, user: &User, policy: &str) {
        let (name, document) = (
            format!("UserName={}", user.name),
            format!("PolicyDocument={policy}"),
        );
        let arguments = ["Action=PutUserPolicy", "PolicyName=rights", &name, &document];
        self.asked(&arguments).await;
    }

    /// The bucket, as a user has it.
    pub async fn store(&self, user: &User) -> S3Store {
        let options = S3Options {
            endpoint: Some(self.endpoint().to_owned()),
            credentials: Some(S3Credentials {
                access_key_id: user.id.clone(),
                secret_access_key: user.secret.clone().into(),
                session_token: None,
            }),
            ..S3Options::new(&self.bucket)
        };
        S3Store::open(options).await.expect("a store")
    }

    /// The status that a user's request to the bucket is answered with.
    pub async fn status(&self, user: &User, method: &str, query: &str) -> u16 {
        let url = format!("{}/{}?{query}", self.endpoint(), self.bucket);
        let keys = format!("{}:{}", user.id, user.secret);
        let unsigned = "x-amz-content-sha256: UNSIGNED-PAYLOAD";
        let more = [
            "--request",
            method,
            "--header",
            unsigned,
            "--write-out",
            "%{http_code}",
            &url,
        ];
        let said = curl("s3", &keys, &more).await;
        let status = said.get(said.len().saturating_sub(3)..).map(str::parse);
        status.and_then(Result::ok).expect("a status")
    }

    /// What the IAM service says to a request of its administrator, which it has to grant.
    pub async fn asked(&self, parameters: &[&str]) -> String {
        let said = self.answer(parameters).await;
        assert!(!said.contains("<Error>"), "{parameters:?}: {said}");
        said
    }

    /// What it says, if it grants it or not.
    pub async fn answer(&self, parameters: &[&str]) -> String {
        let url = format!("http://{}/", self.address);
        let mut more = vec![url.as_str(), "--data-urlencode", "Version=2010-05-08"];
        for parameter in parameters {
            more.extend(["--data-urlencode", parameter]);
        }
        curl("iam", &format!("{ID}:{SECRET}"), &more).await
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// Sends a signed request, and gives back the answer.
async fn curl(service: &str, keys: &str, more: &[&str]) -> String {
    let running = Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--user", keys])
        .args(["--aws-sigv4", &format!("aws:amz:us-east-1:{service}")])
        .args(more)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, running).await.expect("it answers in time");
    let output = output.expect("curl is there: tests/prepare installs it");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it is text")
}

/// The text of the only element of a name.
fn element(xml: &str, name: &str) -> String {
    let inner = xml.split_once(&format!("<{name}>"));
    let inner = inner.and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
    inner.unwrap_or_else(|| panic!("no {name}: {xml}")).0.to_owned()
}
