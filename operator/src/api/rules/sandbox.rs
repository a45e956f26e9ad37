//! What may be asked for a sandbox. Must not know how a Pod is made of it.

use serde_json::Value;

use super::{Rule, entries, has, text};

pub(in crate::api) static VOLUME: Rule = Rule::new(
    "has(self.persistentVolumeClaim) != has(self.emptyDir)",
    "say exactly one of persistentVolumeClaim and emptyDir",
    |value| has(value, "persistentVolumeClaim") != has(value, "emptyDir"),
);

pub(in crate::api) static VOLUME_OWN: Rule = Rule::new(
    "!(self in ['work', 'tmp'])",
    "work and tmp are volumes of the sandbox itself: choose another name",
    |value| text(value, |text| !matches!(text, "work" | "tmp")),
);

pub(in crate::api) static MOUNTED: Rule = Rule::new(
    "!has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name))",
    "each of volumeMounts must name one of volumes: add the volume, or name one that is there",
    |value| {
        let named = |mount: &Value| {
            let volumes = value["volumes"].as_array().into_iter().flatten();
            volumes.into_iter().any(|volume| volume["name"] == mount["name"])
        };
        entries(&value["volumeMounts"], named)
    },
)
.about("volumeMounts");

pub(in crate::api) static MOUNT: Rule = Rule::new(
    r"self.matches(r'^(/[^/:\p{Cc}]+)+$') && !self.split('/').exists(part, part in ['.', '..'])",
    "must be an absolute path such as /data: no ':', no '.' or '..' between slashes, no slash at its end",
    |value| {
        text(value, |text| {
            let right = |part: &str| {
                !matches!(part, "" | "." | "..") && !part.contains(|it: char| it == ':' || it.is_control())
            };
            text.strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(right))
        })
    },
);

pub(in crate::api) static MOUNT_OWN: Rule = Rule::new(
    "!self.matches('^/(bin|boot|dev|etc|lib|lib32|lib64|libx32|opt|proc|root|run|sbin|sys|tmp|usr|work)(/|$)')",
    "must not be in a directory that the sandbox needs itself, such as /work, /tmp, /usr or /opt: choose another one, such as /data",
    |value| {
        text(value, |text| {
            let first = text.strip_prefix('/').and_then(|rest| rest.split('/').next());
            first.is_none_or(|first| !OWN.contains(&first))
        })
    },
);

pub(in crate::api) static MOUNTS_APART: Rule = Rule::new(
    "self.all(outer, self.all(inner, !inner.mountPath.startsWith(outer.mountPath + '/')))",
    "no mountPath may be in another one: choose paths beside each other",
    |value| {
        let paths = || {
            let mounts = value.as_array().into_iter().flatten();
            mounts.filter_map(|mount| mount["mountPath"].as_str())
        };
        !paths().any(|outer| {
            let outer = format!("{outer}/");
            paths().any(|inner| inner.starts_with(&outer))
        })
    },
);

pub(in crate::api) static PART: Rule = Rule::new(
    r"!self.split('/').exists(part, part in ['', '.', '..']) && !self.matches(r'\p{Cc}')",
    "must be a path within the volume, such as shop/2026, without slashes at its ends, '.' and '..'",
    |value| {
        text(value, |text| {
            !text.split('/').any(|part| matches!(part, "" | "." | "..")) && !text.contains(char::is_control)
        })
    },
);

pub(in crate::api) static TOLERATION: Rule = Rule::new(
    "has(self.operator) && self.operator == 'Exists' ? !has(self.value) || self.value == '' : has(self.key) && self.key != ''",
    "say the key and the value of a taint, or operator Exists and no value",
    |value| {
        let said = |member: &str| value[member].as_str().is_some_and(|text| !text.is_empty());
        if value["operator"] == "Exists" {
            !said("value")
        } else {
            said("key")
        }
    },
);

pub(in crate::api) static TOLERATED_FOR: Rule = Rule::new(
    "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
    "tolerationSeconds are for the effect NoExecute: say that effect, or leave them out",
    |value| !has(value, "tolerationSeconds") || value["effect"] == "NoExecute",
);

pub(super) const ALL: &[&Rule] = &[
    &VOLUME,
    &VOLUME_OWN,
    &MOUNTED,
    &MOUNT,
    &MOUNT_OWN,
    &MOUNTS_APART,
    &PART,
    &TOLERATION,
    &TOLERATED_FOR,
];

/// Where the image, the node or the sandbox itself has something.
const OWN: [&str; 17] = [
    "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root", "run", "sbin",
    "sys", "tmp", "usr", "work",
];
