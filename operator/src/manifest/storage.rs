//! Where a Catalog's pages go, as `store` wants it. Nothing is opened here.

use secrecy::ExposeSecret as _;

use super::{Manifest, ManifestError};
use crate::store::s3::S3Credentials;
use crate::store::{Prefix, S3Options};

/// A place in a bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Which, and how to reach it. Without credentials, if the file doesn't hold them.
    pub options: S3Options,
    /// What all keys begin with there.
    pub prefix: Prefix,
}

impl Manifest {
    /// Where the pages go. `usual` is the bucket of a Catalog that names none.
    pub fn storage(&self, usual: Option<&str>) -> Result<Bucket, ManifestError> {
        let s3 = &self.catalog.spec.storage.s3;
        let prefix = s3.prefix.parse().map_err(|error| {
            self.incomplete(format!("spec.storage.s3.prefix: {error}"), "choose another one")
        })?;
        let bucket = s3.bucket.as_deref().or(usual).ok_or_else(|| {
            self.incomplete(
                "the Catalog names no bucket, and there is no operator here that has one",
                "add spec.storage.s3.bucket, or say where the pages go by --output",
            )
        })?;
        Ok(Bucket {
            options: S3Options {
                region: s3.region.clone(),
                endpoint: s3.endpoint.clone(),
                path_style: s3.force_path_style,
                credentials: self.credentials()?,
                ..S3Options::new(bucket)
            },
            prefix,
        })
    }

    fn credentials(&self) -> Result<Option<S3Credentials>, ManifestError> {
        let Some(reference) = &self.catalog.spec.storage.s3.credentials_secret_ref else {
            return Ok(None);
        };
        let get = |key| {
            let asker = "spec.storage.s3.credentialsSecretRef";
            self.trimmed(self.namespace(), asker, &reference.name, key)
        };
        let (Some(id), Some(secret_access_key)) = (get("AWS_ACCESS_KEY_ID")?, get("AWS_SECRET_ACCESS_KEY")?)
        else {
            return Ok(None);
        };
        let session_token = match get("AWS_SESSION_TOKEN") {
            // Only temporary keys have one.
            Err(ManifestError::NoKey { .. }) => None,
            other => other?,
        };
        Ok(Some(S3Credentials {
            access_key_id: id.expose_secret().to_owned(),
            secret_access_key,
            session_token,
        }))
    }
}
