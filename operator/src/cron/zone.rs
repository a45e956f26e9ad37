//! Time zones by their names, from the data that this program was built with: what a machine has is not looked at, so
//! that all replicas agree.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use thiserror::Error;

/// What a zone is called that nobody has named.
const UTC: &str = "Etc/UTC";

/// All zones. It keeps what it has read.
static KNOWN: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// There is no such zone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name:?} is no time zone that is known here: {}", match meant {
    Some(meant) => format!("write {meant}"),
    None => "write it as Europe/Berlin, America/New_York or Etc/UTC".to_owned(),
})]
pub struct UnknownZone {
    /// The name.
    pub name: String,
    /// What may be meant.
    pub meant: Option<String>,
}

/// The zone of a name; UTC, if there is none. Capitals count, as they do for a `CronJob`.
pub fn zone(name: Option<&str>) -> Result<TimeZone, UnknownZone> {
    let name = name.unwrap_or(UTC);
    let unknown = |meant: Option<&str>| UnknownZone {
        name: name.to_owned(),
        meant: meant.map(str::to_owned),
    };
    let zone = KNOWN.get(name).map_err(|_| unknown(None))?;
    match zone.iana_name() {
        Some(right) if right != name => Err(unknown(Some(right))),
        _ => Ok(zone),
    }
}
