//! The words that metrics use as labels: closed lists, so that no name of anybody's makes a series.

use crate::llm::Provider;
use crate::run;
use crate::store::{Class, StoreError};

/// Makes an enum of which each variant has its word.
macro_rules! labels {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$of])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

labels! {
    /// What is reconciled.
    Kind {
        /// A `Catalog`.
        Catalog = "catalog",
        /// A `CatalogSchedule`.
        Schedule = "schedule",
        /// A `ModelProvider`.
        Provider = "provider",
    }
}

labels! {
    /// How a reconcile ended.
    Reconciled {
        /// All is as it should be.
        Ok = "ok",
        /// Something goes on that will be looked at again.
        Waiting = "waiting",
        /// Somebody has to change something.
        Stalled = "stalled",
        /// It is tried again.
        Retry = "retry",
        /// It failed.
        Error = "error",
    }
}

labels! {
    /// What a run is at.
    Phase {
        /// The store is tried.
        Preparing = "preparing",
        /// The sandbox is made.
        Provisioning = "provisioning",
        /// The catalog is written.
        Cataloging = "cataloging",
        /// The summary is written.
        Summarizing = "summarizing",
    }
}

impl From<run::Phase> for Phase {
    fn from(phase: run::Phase) -> Self {
        match phase {
            run::Phase::Preparing => Self::Preparing,
            run::Phase::Provisioning => Self::Provisioning,
            run::Phase::Cataloging => Self::Cataloging,
            run::Phase::Summarizing => Self::Summarizing,
        }
    }
}

labels! {
    /// How a run ended here.
    RunOutcome {
        /// Its pages are published.
        Succeeded = "succeeded",
        /// It is given up.
        Failed = "failed",
        /// It failed in a way that may pass, and is gone on with.
        Retried = "retried",
        /// A changed spec wanted another one.
        Replaced = "replaced",
        /// Its Catalog was suspended.
        Suspended = "suspended",
        /// Its Catalog was deleted.
        Deleted = "deleted",
        /// The next leader goes on with it.
        HandedOver = "handed_over",
        /// It was there already, and serves a Catalog that was made anew.
        Adopted = "adopted",
    }
}

labels! {
    /// How a sandbox came about.
    SandboxOutcome {
        /// It was made.
        Started = "started",
        /// It was there.
        Found = "found",
        /// It could not be had.
        Failed = "failed",
    }
}

labels! {
    /// What a model asks for.
    Tool {
        /// To run code.
        ExecutePython = "execute_python",
        /// To take a page.
        SubmitHtml = "submit_html",
    }
}

labels! {
    /// How a call of a tool ended.
    ToolOutcome {
        /// As the model wanted.
        Ok = "ok",
        /// With an error that it was told.
        Error = "error",
    }
}

labels! {
    /// Who serves a model.
    ModelProvider {
        /// Anthropic's API.
        Anthropic = "anthropic",
        /// OpenAI's API, or a compatible one.
        OpenAi = "openai",
        /// The model that Cataloger brings along.
        Builtin = "builtin",
    }
}

impl From<Provider> for ModelProvider {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Anthropic => Self::Anthropic,
            Provider::OpenAi => Self::OpenAi,
            Provider::Builtin => Self::Builtin,
        }
    }
}

labels! {
    /// How a request to a model ended.
    ModelOutcome {
        /// There is a turn.
        Answered = "answered",
        /// There is none.
        Failed = "failed",
    }
}

labels! {
    /// What a request to a provider's models was told.
    Leave {
        /// It may be sent at once.
        Given = "given",
        /// It may be sent, after a wait for rates or for what others had set aside.
        Waited = "waited",
        /// The budget does not allow it.
        UsedUp = "used_up",
        /// It may not be sent for another reason.
        Refused = "refused",
    }
}

labels! {
    /// Kinds of tokens. No token is of two.
    TokenKind {
        /// Sent, and no cache had to do with it.
        Input = "input",
        /// Received.
        Output = "output",
        /// Sent, and read from a cache.
        CacheRead = "cache_read",
        /// Sent, and written to a cache.
        CacheWrite = "cache_write",
    }
}

labels! {
    /// What is asked of a bucket.
    BucketOperation {
        /// Reading.
        Get = "get",
        /// Looking whether it is there.
        Head = "head",
        /// Writing.
        Put = "put",
        /// Writing what is not there yet.
        Create = "create",
        /// Removing.
        Delete = "delete",
        /// Listing.
        List = "list",
    }
}

labels! {
    /// How a call of a bucket ended.
    BucketOutcome {
        /// It has answered. That there is no such object is an answer too.
        Ok = "ok",
        /// It asks for less.
        Throttled = "throttled",
        /// It failed, or did not answer.
        Failed = "failed",
        /// It refused.
        Refused = "refused",
    }
}

impl<T> From<&Result<T, StoreError>> for BucketOutcome {
    fn from(result: &Result<T, StoreError>) -> Self {
        match result.as_ref().map_err(StoreError::class) {
            Ok(_) => Self::Ok,
            Err(Class::Wait) => Self::Throttled,
            Err(Class::Retry) => Self::Failed,
            Err(Class::Stop) => Self::Refused,
        }
    }
}

labels! {
    /// What is asked of the API server.
    Verb {
        /// One object.
        Get = "get",
        /// Many.
        List = "list",
        /// Their changes.
        Watch = "watch",
        /// To make one.
        Create = "create",
        /// To replace one.
        Update = "update",
        /// To change one, or to apply it.
        Patch = "patch",
        /// To remove one, or many.
        Delete = "delete",
    }
}

labels! {
    /// What the API server is asked of.
    Resource {
        /// `Catalog`.
        Catalogs = "catalogs",
        /// Its status.
        CatalogsStatus = "catalogs/status",
        /// `CatalogSchedule`.
        CatalogSchedules = "catalogschedules",
        /// Its status.
        CatalogSchedulesStatus = "catalogschedules/status",
        /// `ModelProvider`.
        ModelProviders = "modelproviders",
        /// Its status.
        ModelProvidersStatus = "modelproviders/status",
        /// Pods.
        Pods = "pods",
        /// Streams into them.
        PodsExec = "pods/exec",
        /// Network policies.
        NetworkPolicies = "networkpolicies",
        /// Secrets.
        Secrets = "secrets",
        /// Config maps.
        ConfigMaps = "configmaps",
        /// Events.
        Events = "events",
        /// Leases.
        Leases = "leases",
        /// All others.
        Other = "other",
    }
}

labels! {
    /// What the API server answered.
    ApiOutcome {
        /// That it is done.
        Ok = "ok",
        /// That there is none (404).
        Missing = "missing",
        /// That somebody else was first (409).
        Conflict = "conflict",
        /// That there are too many requests (429).
        Throttled = "throttled",
        /// No, for another reason (4xx).
        Refused = "refused",
        /// That it failed (5xx), or nothing.
        Failed = "failed",
    }
}

labels! {
    /// What became of a status.
    StatusOutcome {
        /// It was written.
        Ok = "ok",
        /// There is a later version of the object.
        Conflict = "conflict",
        /// It could not be written.
        Error = "error",
    }
}

labels! {
    /// What became of prompts that have changed.
    ReloadOutcome {
        /// They are in use.
        Replaced = "replaced",
        /// They are broken, and the last good ones stay in use.
        Refused = "refused",
    }
}
