//! Where a Catalog's pages go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::SecretRef;
use crate::api::rules::{Obey, places};

/// Where the pages go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storage {
    /// A place in a bucket of S3, or of a server that speaks its protocol and honours conditional writes. What is not
    /// said is the operator's own. Who names `credentialsSecretRef` has a bucket of their own, and must name it;
    /// everybody else writes to the operator's bucket, below a folder that is named like the namespace.
    pub s3: S3,
}

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = Obey([&places::OWN_BUCKET, &places::OWN_KEYS]))]
pub struct S3 {
    /// The bucket. Example: `documentation`. If not said, the operator's; another one than that needs
    /// `credentialsSecretRef`. 3 to 63 letters, digits, `.` and `-`. A change makes a run due; nothing is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 63), transform = Obey([&places::BUCKET]))]
    pub bucket: Option<String>,
    /// What all keys begin with. Example: `warehouse/sales`. Every run makes a folder below it, named by its begin
    /// in UTC: `warehouse/sales/20261121T120000Z/catalog.html`. In the operator's bucket the namespace comes before
    /// it. Catalogs that share a prefix share their past: each run is told of the last one there. At most 512
    /// bytes; no slash at its ends, no empty part, `.`, `..`, `.journal` or name of a run between slashes, no
    /// control characters, no space at the ends of a part. A change makes a run due, which knows nothing of the
    /// earlier ones; nothing is moved.
    #[schemars(
        length(min = 1, max = 512),
        transform = Obey([
            &places::PREFIX, &places::PREFIX_TAKEN, &places::PREFIX_LETTERS, &places::PREFIX_LENGTH,
        ]),
    )]
    pub prefix: String,
    /// The bucket's region. Example: `eu-central-1`. If not said, the operator's; with an `endpoint` `us-east-1`, which
    /// most servers take. Another one than the operator's needs `credentialsSecretRef`. A change makes no run due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), transform = Obey([&places::REGION]))]
    pub region: Option<String>,
    /// The URL of a server other than AWS's. Example: `https://s3.example.com:9000`. If not said, AWS's, or the
    /// one that the operator's environment names. Needs `credentialsSecretRef`, and the operator has to allow it
    /// (`--allow-endpoint`). It has no user, password, query or fragment. A change makes a run due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), transform = Obey([&places::ENDPOINT]))]
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the path and not in the host's name. If not said, it is with an `endpoint`, as
    /// most servers other than AWS's want it. Only with `credentialsSecretRef`. A change makes no run due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_path_style: Option<bool>,
    /// The Secret in the Catalog's namespace with the keys for a bucket of your own: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and, for temporary keys, `AWS_SESSION_TOKEN`. Needs `bucket`. If not said, the
    /// operator's own keys, which are for its own bucket only. It is read when a run begins. A change makes no run
    /// due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}
