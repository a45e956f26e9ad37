//! Objects in an S3 bucket: Amazon's, or of any server that speaks its protocol.
//!
//! It must not know what is stored, and holds no state but its connections. Every object is written by one
//! request with its content in memory, so there are no multipart uploads to clean up, and the signature
//! covers the SHA-256 of the content. The SDK's own additional checksums are off: many servers refuse them.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents, SharedHttpClient,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use bytes::{Bytes, BytesMut};
use secrecy::{ExposeSecret, SecretString};

use super::location::check_bucket;
use super::{
    ContentType, Creation, Depth, Key, Listed, Listing, MAX_OBJECT, Meta, Object, Operation, Page, PageToken,
    Problem, Store, StoreError, check_size,
};

/// How long the different parts of an operation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Timing {
    /// Until there is a connection.
    pub connect: Duration,
    /// Until the answer begins.
    pub read: Duration,
    /// One try.
    pub attempt: Duration,
    /// All tries together, the content included.
    pub operation: Duration,
    /// How many tries there are.
    pub attempts: u32,
}

impl Default for S3Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(20),
            attempt: Duration::from_secs(40),
            operation: Duration::from_secs(100),
            attempts: 3,
        }
    }
}

/// A pair of keys.
#[derive(Debug, Clone)]
pub struct S3Credentials {
    /// The name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: SecretString,
    /// Of temporary keys.
    pub session_token: Option<SecretString>,
}

/// Which bucket, and how to reach it.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// Its region. Usual where missing: `us-east-1` with an endpoint, else that of the environment.
    pub region: Option<String>,
    /// The address of the server, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket is part of the path rather than of the host's name. Usual where missing: with an
    /// endpoint, yes.
    pub path_style: Option<bool>,
    /// The keys. Where missing: as every tool of AWS finds them (environment, profile, web identity,
    /// container, instance).
    pub credentials: Option<S3Credentials>,
    /// How long things may take.
    pub timing: S3Timing,
}

impl S3Options {
    /// A bucket, everything else as usual.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            path_style: None,
            credentials: None,
            timing: S3Timing::default(),
        }
    }

    /// Fills in what is missing from variables: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION`,
    /// `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`. For the
    /// environment, give `|name| std::env::var(name).ok()`.
    #[must_use]
    pub fn or_from(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let ignored = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if self.endpoint.is_none() && !ignored {
            self.endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
        }
        if self.region.is_none() {
            self.region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        }
        if self.credentials.is_none()
            && let (Some(id), Some(key)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            self.credentials = Some(S3Credentials {
                access_key_id: id,
                secret_access_key: key.into(),
                session_token: variable("AWS_SESSION_TOKEN").map(Into::into),
            });
        }
        self
    }
}

/// A store in a bucket. Clones share their connections.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    /// Whom errors name, where it is not Amazon.
    endpoint: Option<String>,
    timing: S3Timing,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "S3Store(s3://{}", self.bucket)?;
        if let Some(endpoint) = &self.endpoint {
            write!(formatter, " at {endpoint}")?;
        }
        formatter.write_str(")")
    }
}

impl S3Store {
    /// Makes a client. Nothing is asked of the bucket yet; what is missing of region and credentials is looked
    /// for as every tool of AWS does.
    pub async fn open(options: S3Options) -> Result<Self, StoreError> {
        let timing = options.timing;
        let uri = format!("s3://{}", options.bucket.escape_debug());
        let wrong =
            |message: String| StoreError::new(Operation::Open, uri.as_str(), Problem::Address { message });
        check_bucket(&options.bucket).map_err(|why| wrong(why.to_owned()))?;
        let endpoint = options.endpoint.as_deref().map(check_endpoint).transpose();
        let endpoint = endpoint.map_err(wrong)?;
        let http = http_client();
        let credentials = options.credentials.map(|keys| {
            Credentials::new(
                keys.access_key_id,
                keys.secret_access_key.expose_secret(),
                keys.session_token.map(|token| token.expose_secret().to_owned()),
                None,
                "cataloger",
            )
        });
        // With an endpoint, the region is a word of the signature, and most servers take this one.
        let region = options
            .region
            .or_else(|| endpoint.as_ref().map(|_| "us-east-1".to_owned()))
            .map(Region::new);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(timing.connect)
            .read_timeout(timing.read)
            .operation_attempt_timeout(timing.attempt)
            .operation_timeout(timing.operation)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(timing.attempts.max(1)))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Ok(name) = AppName::new("cataloger") {
            loader = loader.app_name(name);
        }
        if let Some(credentials) = credentials {
            loader = loader.credentials_provider(credentials);
        }
        if let Some(region) = region {
            loader = loader.region(region);
        }
        if let Some(endpoint) = &endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        // It may ask the instance it runs on for its region.
        let shared = tokio::time::timeout(timing.operation, loader.load())
            .await
            .map_err(|_| {
                StoreError::new(
                    Operation::Open,
                    uri.as_str(),
                    Problem::Timeout {
                        after: timing.operation,
                    },
                )
            })?;
        if shared.region().is_none() {
            return Err(wrong(
                "no region is known; set AWS_REGION, or the endpoint".into(),
            ));
        }
        // A profile may name an endpoint too.
        let endpoint = endpoint.or_else(|| shared.endpoint_url().map(ToOwned::to_owned));
        let config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(options.path_style.unwrap_or(endpoint.is_some()));
        // What was given counts, also where the environment names an endpoint for S3 alone.
        let config = match &endpoint {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        Ok(Self {
            client: Client::from_conf(config.build()),
            bucket: options.bucket,
            endpoint,
            timing,
        })
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    fn on(&self, key: Option<&Key>) -> String {
        let mut on = match key {
            Some(key) => self.uri(key),
            None => format!("s3://{}", self.bucket),
        };
        if let Some(endpoint) = &self.endpoint {
            on.push_str(" at ");
            on.push_str(endpoint);
        }
        on
    }

    /// Gives an operation its time, and its error a name.
    async fn within<T>(
        &self,
        operation: Operation,
        key: Option<&Key>,
        work: impl Future<Output = Result<T, Problem>> + Send,
    ) -> Result<T, StoreError> {
        // The SDK's own limit ends where the content begins.
        let after = self.timing.operation;
        tokio::time::timeout(after, work)
            .await
            .unwrap_or(Err(Problem::Timeout { after }))
            .map_err(|problem| StoreError::new(operation, self.on(key), problem))
    }

    fn problem<E>(&self, error: &SdkError<E, HttpResponse>) -> Problem
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let Some(response) = error.raw_response() else {
            return self.unanswered(error);
        };
        let status = response.status().as_u16();
        let code = error.code().unwrap_or_default();
        let message = match (error.code(), error.message()) {
            (Some(code), Some(text)) => format!("{status} {code}: {}", first_line(text)),
            (Some(code), None) => format!("{status} {code}"),
            _ => format!("status {status}"),
        };
        if !matches!(error, SdkError::ServiceError(_)) {
            return if status >= 500 {
                Problem::Unavailable { message }
            } else {
                Problem::Protocol {
                    message: format!("{message}: {}", context(error)),
                }
            };
        }
        match (status, code) {
            (_, "NoSuchBucket") => Problem::NoBucket {
                bucket: self.bucket.clone(),
            },
            (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "InvalidBucketName")
            | (301 | 307, _) => Problem::Address {
                message: match response.headers().get("x-amz-bucket-region") {
                    Some(region) => format!("{message}; the bucket is in the region {region}"),
                    None => message,
                },
            },
            (429, _)
            | (
                _,
                "SlowDown"
                | "Throttling"
                | "ThrottlingException"
                | "TooManyRequests"
                | "RequestLimitExceeded"
                | "BandwidthLimitExceeded",
            ) => Problem::Throttled { message },
            (507, _)
            | (
                _,
                "InsufficientStorage"
                | "QuotaExceeded"
                | "StorageFull"
                | "XMinioStorageFull"
                | "XMinioAdminBucketQuotaExceeded",
            ) => Problem::Full { message },
            // Not all of them come with a status that says so.
            (
                _,
                "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "XAdminUserNotFound",
            ) => Problem::Denied { message },
            (409, _) => Problem::Contended,
            (408, _) | (_, "RequestTimeout") => Problem::Unavailable { message },
            (401 | 403, _) => Problem::Denied { message },
            (501, _) | (_, "NotImplemented") => Problem::Unsupported { message },
            (500.., _) => Problem::Unavailable { message },
            _ => Problem::Refused { message },
        }
    }

    /// Where there is no answer.
    fn unanswered<E>(&self, error: &SdkError<E, HttpResponse>) -> Problem
    where
        E: Error + 'static,
    {
        let message = context(error);
        match error {
            SdkError::TimeoutError(_) => Problem::Timeout {
                after: self.timing.attempt,
            },
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Problem::Unreachable { message },
            SdkError::DispatchFailure(failure) if failure.is_io() => Problem::Unreachable { message },
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_)
                if message.contains("redential") =>
            {
                Problem::NoCredentials { message }
            }
            SdkError::DispatchFailure(failure) if failure.is_user() => Problem::Address { message },
            SdkError::DispatchFailure(_) => Problem::Unreachable { message },
            SdkError::ConstructionFailure(_) => Problem::Address { message },
            _ => Problem::Protocol { message },
        }
    }

    async fn read(&self, key: &Key) -> Result<Option<Object>, Problem> {
        let sent = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .send()
            .await;
        let mut answer = match sent {
            Ok(answer) => answer,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.problem(&error)),
        };
        let announced = u64::try_from(answer.content_length().unwrap_or_default()).unwrap_or_default();
        if announced > MAX_OBJECT as u64 {
            return Err(Problem::TooLarge { size: announced });
        }
        let content_type = answer
            .content_type()
            .map_or(ContentType::Bytes, ContentType::parse);
        let mut content = BytesMut::with_capacity(usize::try_from(announced).unwrap_or_default());
        while let Some(part) = answer.body.next().await {
            let part = part.map_err(|error| Problem::Unreachable {
                message: format!(
                    "the content broke off: {}",
                    first_line(&DisplayErrorContext(&error).to_string())
                ),
            })?;
            if content.len() + part.len() > MAX_OBJECT {
                return Err(Problem::TooLarge {
                    size: (content.len() + part.len()) as u64,
                });
            }
            content.extend_from_slice(&part);
        }
        if answer.content_length().is_some() && content.len() as u64 != announced {
            return Err(Problem::Unreachable {
                message: format!("{} of {announced} bytes came", content.len()),
            });
        }
        Ok(Some(Object {
            content: content.freeze(),
            content_type,
        }))
    }

    async fn look(&self, key: &Key) -> Result<Option<Meta>, Problem> {
        let sent = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .send()
            .await;
        match sent {
            Ok(answer) => Ok(Some(Meta {
                size: u64::try_from(answer.content_length().unwrap_or_default()).unwrap_or_default(),
                content_type: answer
                    .content_type()
                    .map_or(ContentType::Bytes, ContentType::parse),
            })),
            Err(error) if status(&error) == Some(404) => {
                // The answer to HEAD has no content that could say what is missing: the object, the bucket, or
                // (for some servers) the user. That to a listing has.
                let listed = self
                    .client
                    .list_objects_v2()
                    .bucket(&self.bucket)
                    .prefix(key.as_str())
                    .max_keys(1)
                    .send()
                    .await;
                match listed {
                    // Who may not list was still told that the object is missing.
                    Err(error) if error.code() != Some("AccessDenied") => Err(self.problem(&error)),
                    _ => Ok(None),
                }
            }
            Err(error) => Err(self.problem(&error)),
        }
    }

    async fn write(
        &self,
        key: &Key,
        content: Bytes,
        content_type: ContentType,
        only_new: bool,
    ) -> Result<Creation, Problem> {
        let mut tries = 0;
        loop {
            tries += 1;
            let sent = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key.as_str())
                .content_type(content_type.as_str())
                .set_if_none_match(only_new.then(|| "*".to_owned()))
                .body(ByteStream::from(content.clone()))
                .send()
                .await;
            let Err(error) = sent else {
                return Ok(Creation::Created);
            };
            if only_new && status(&error) == Some(412) {
                return Ok(Creation::Exists);
            }
            match self.problem(&error) {
                // Amazon's answer where several write at once: nobody has won yet. Asked again, it tells.
                Problem::Contended if tries <= self.timing.attempts.max(1) => {
                    let pause = rand::random_range(25..100) * u64::from(tries);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                problem => return Err(problem),
            }
        }
    }

    async fn page(&self, listing: &Listing) -> Result<Page, Problem> {
        let start = listing.start();
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&start)
            .set_delimiter((listing.depth == Depth::Folder).then(|| "/".to_owned()))
            .max_keys(i32::from(listing.limit.clamp(1, 1000)))
            .set_continuation_token(listing.after.as_ref().map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| self.problem(&error))?;
        let mut page = Page::default();
        for object in answer.contents() {
            // Not ours are also the folders that some tools make: empty objects that end in a slash.
            let Some(Ok(key)) = object.key().map(Key::new) else {
                continue;
            };
            page.objects.push(Listed {
                key,
                size: u64::try_from(object.size().unwrap_or_default()).unwrap_or_default(),
            });
        }
        page.folders = answer
            .common_prefixes()
            .iter()
            .filter_map(|folder| folder.prefix()?.strip_suffix('/'))
            .filter_map(|folder| Key::new(folder).ok())
            .collect();
        if answer.is_truncated() == Some(true) {
            let Some(token) = answer.next_continuation_token() else {
                return Err(Problem::Protocol {
                    message: "there is more of the listing, but no token for it".into(),
                });
            };
            page.next = Some(PageToken(token.to_owned()));
        }
        Ok(page)
    }
}

#[async_trait]
impl Store for S3Store {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.within(Operation::Get, Some(key), self.read(key)).await
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.within(Operation::Head, Some(key), self.look(key)).await
    }

    async fn put(&self, key: &Key, content: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        check_size(Operation::Put, || self.on(Some(key)), content.len() as u64)?;
        let written = Box::pin(self.write(key, content, content_type, false));
        self.within(Operation::Put, Some(key), written).await.map(|_| ())
    }

    async fn create(
        &self,
        key: &Key,
        content: Bytes,
        content_type: ContentType,
    ) -> Result<Creation, StoreError> {
        check_size(Operation::Create, || self.on(Some(key)), content.len() as u64)?;
        let written = Box::pin(self.write(key, content, content_type, true));
        self.within(Operation::Create, Some(key), written).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let removed = async {
            let sent = self
                .client
                .delete_object()
                .bucket(&self.bucket)
                .key(key.as_str())
                .send()
                .await;
            match sent {
                Ok(_) => Ok(()),
                // Some servers say that it was not there; Amazon does not.
                Err(error) if is_missing(&error) => Ok(()),
                Err(error) => Err(self.problem(&error)),
            }
        };
        self.within(Operation::Delete, Some(key), removed).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        self.within(Operation::List, listing.folder.as_ref(), self.page(listing))
            .await
    }

    fn uri(&self, key: &Key) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Whether an answer says that there is no such object, and not that something else is missing.
fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    status(error) == Some(404) && matches!(error.code(), None | Some("NoSuchKey" | "NotFound"))
}

/// TLS by rustls and aws-lc, as everywhere in this program; proxies by the environment, as every tool of AWS.
fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut builder = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc));
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.build()
    })
}

/// An endpoint is shown in errors and statuses, so nothing secret may be in it.
fn check_endpoint(endpoint: &str) -> Result<String, String> {
    let rest = endpoint
        .strip_prefix("http://")
        .or_else(|| endpoint.strip_prefix("https://"))
        .ok_or("the endpoint has to begin with http:// or https://")?;
    if rest.contains('@') {
        return Err("the endpoint holds a user name; give the keys apart from it".into());
    }
    if rest.contains(['?', '#']) || rest.contains(|it: char| it.is_whitespace() || it.is_control()) {
        return Err("the endpoint is more than an address".into());
    }
    if rest.is_empty() || rest.starts_with(['/', ':']) {
        return Err("the endpoint names no host".into());
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

/// The cause of an error, on one line and not endless.
fn context<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = first_line(&cause.to_string());
        // Wrappers repeat what they wrap.
        if !text.is_empty() && causes.last() != Some(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    if causes.is_empty() {
        first_line(&error.to_string())
    } else {
        causes.join(": ")
    }
}

fn first_line(text: &str) -> String {
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|it| !it.is_control())
        .take(300)
        .collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_fill_in_what_is_missing() {
        let environment = |name: &str| {
            let value = match name {
                "AWS_ENDPOINT_URL_S3" => "http://s3:1",
                "AWS_ENDPOINT_URL" => "http://all:1",
                "AWS_REGION" => "",
                "AWS_DEFAULT_REGION" => "eu-west-1",
                "AWS_ACCESS_KEY_ID" => "id",
                "AWS_SECRET_ACCESS_KEY" => "hidden",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let options = S3Options::new("pages").or_from(environment);
        assert_eq!(options.endpoint.as_deref(), Some("http://s3:1"));
        assert_eq!(options.region.as_deref(), Some("eu-west-1"));
        assert_eq!(options.credentials.as_ref().unwrap().access_key_id, "id");
        assert!(!format!("{options:?}").contains("hidden"));
        let given = S3Options {
            endpoint: Some("http://mine:1".into()),
            region: Some("x".into()),
            ..S3Options::new("pages")
        };
        let given = given.or_from(environment);
        assert_eq!(given.endpoint.as_deref(), Some("http://mine:1"));
        assert_eq!(given.region.as_deref(), Some("x"));
    }

    #[tokio::test]
    async fn bad_addresses_are_refused_before_anything_is_asked() {
        for (bucket, endpoint) in [
            ("x", None),
            ("pages", Some("s3.example.com")),
            ("pages", Some("http://")),
            ("pages", Some("http://key:hidden@host")),
            ("pages", Some("http://host?x=1")),
        ] {
            let options = S3Options {
                endpoint: endpoint.map(Into::into),
                region: Some("x".into()),
                ..S3Options::new(bucket)
            };
            let error = S3Store::open(options).await.unwrap_err();
            assert!(matches!(error.problem, Problem::Address { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
        }
    }
}
