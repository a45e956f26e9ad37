//! Opening the place for pages: a directory or a bucket, with what the environment says of S3.

use std::sync::Arc;

use crate::store::{DirectoryStore, Layout, Location, S3Options, S3Store, Store, StoreError};

/// Opens a place. `bucket` has what is said of the bucket elsewhere.
pub async fn open(
    location: &Location,
    bucket: Option<S3Options>,
) -> Result<(Arc<dyn Store>, Layout), StoreError> {
    let store: Arc<dyn Store> = match location {
        Location::Directory(path) => Arc::new(DirectoryStore::open(path).await?),
        Location::S3 { bucket: name, .. } => {
            let options = bucket.unwrap_or_else(|| S3Options::new(name));
            Arc::new(S3Store::open(options.or_from(|name| std::env::var(name).ok())).await?)
        }
    };
    Ok((store, Layout::new(location.prefix())))
}
