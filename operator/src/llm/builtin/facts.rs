//! What the Python prints: facts about tables, columns and references, one to a line.
//!
//! It must not know how they were found, nor how they are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::cells::Named;

/// So many columns are measured by a call, a few more or less.
const COLUMNS: usize = 40;
/// A table of more rows has a call of its own.
const ROWS: u64 = 100_000;

/// A value of the database, as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) => Self(text),
            other => Self(other.to_string()),
        })
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Record {
    Database(Database),
    Missing(Missing),
    Found(Found),
    Table(Box<Table>),
    Column(Box<Column>),
    Reference(Reference),
    Related {},
    End {
        #[serde(default)]
        more: Vec<String>,
    },
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The database.
    pub(super) database: Database,
    /// What was asked for and is not there.
    pub(super) missing: Vec<Missing>,
    /// The tables that are there.
    pub(super) found: Vec<Found>,
    /// Those that were measured, by their numbers.
    pub(super) tables: BTreeMap<usize, Table>,
    /// References, declared and found.
    pub(super) references: Vec<Reference>,
    /// Whether all references are known.
    pub(super) related: bool,
    /// The pages of facts that are not in the results, but can be had.
    pub(super) pages: BTreeSet<String>,
}

/// A database.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) notes: Vec<String>,
}

/// A name without a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Missing {
    pub(super) name: String,
    pub(super) near: Vec<String>,
}

/// A table that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Found {
    pub(super) table: usize,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: usize,
    pub(super) estimate: Option<u64>,
}

/// How rows were drawn.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sample {
    pub(super) rows: u64,
    pub(super) method: String,
}

/// A table that was measured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Table {
    /// Its number.
    #[serde(rename = "table")]
    pub(super) number: usize,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) estimate: Option<u64>,
    pub(super) size: Option<u64>,
    /// The size is what the database believes.
    pub(super) size_about: bool,
    pub(super) comment: Option<String>,
    pub(super) definition: Option<String>,
    pub(super) key: Vec<String>,
    pub(super) uniques: Vec<Vec<String>>,
    pub(super) indexes: usize,
    /// When it was measured.
    pub(super) at: String,
    /// `exact` or `sample`.
    pub(super) how: String,
    /// Counted, or nothing.
    pub(super) rows: Option<u64>,
    pub(super) sample: Option<Sample>,
    pub(super) seconds: f64,
    /// Why there was no pass over it.
    pub(super) slow: Option<String>,
    pub(super) problem: Option<String>,
    #[serde(skip)]
    pub(super) columns: Vec<Column>,
}

/// A frequent value, how often it was seen, and between which shares it is if that is a sample's.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "(Option<Scalar>, u64, Option<(f64, f64)>)")]
pub(super) struct Top {
    /// Nothing if it must not be shown.
    pub(super) value: Option<String>,
    pub(super) rows: u64,
    pub(super) between: Option<(f64, f64)>,
}

impl From<(Option<Scalar>, u64, Option<(f64, f64)>)> for Top {
    fn from((value, rows, between): (Option<Scalar>, u64, Option<(f64, f64)>)) -> Self {
        Self {
            value: value.map(|value| value.0),
            rows,
            between,
        }
    }
}

/// A column.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Column {
    pub(super) table: usize,
    /// Its place among the columns of the table: they may be told in any order.
    pub(super) place: usize,
    pub(super) name: String,
    pub(super) r#type: String,
    pub(super) kind: String,
    pub(super) not_null: bool,
    pub(super) unique: bool,
    pub(super) default: Option<String>,
    pub(super) generated: bool,
    pub(super) comment: Option<String>,
    pub(super) problem: Option<String>,
    pub(super) nulls: Option<u64>,
    pub(super) nulls_seen: Option<u64>,
    pub(super) nulls_share: Option<(f64, f64)>,
    pub(super) distinct: Option<u64>,
    pub(super) distinct_seen: Option<u64>,
    /// Of a sample, the rows that have a value.
    pub(super) drawn: Option<u64>,
    pub(super) min: Option<Scalar>,
    pub(super) max: Option<Scalar>,
    pub(super) least_seen: Option<Scalar>,
    pub(super) most_seen: Option<Scalar>,
    pub(super) quartiles: Vec<Scalar>,
    pub(super) quartile_bounds: Vec<(Scalar, Scalar)>,
    pub(super) zeros: Option<u64>,
    pub(super) negatives: Option<u64>,
    pub(super) nan: Option<u64>,
    pub(super) infinite: Option<u64>,
    pub(super) mixed: Option<u64>,
    pub(super) malformed: Option<u64>,
    pub(super) zero_dates: Option<u64>,
    pub(super) future: Option<u64>,
    pub(super) outside: Option<u64>,
    pub(super) newest: Option<Scalar>,
    pub(super) shortest: Option<u64>,
    pub(super) longest: Option<u64>,
    pub(super) empty: Option<u64>,
    pub(super) trues: Option<u64>,
    pub(super) top: Vec<Top>,
    pub(super) bins: Vec<u64>,
    pub(super) period: Option<String>,
    pub(super) bounds: Option<(Scalar, Scalar)>,
    pub(super) personal: Option<String>,
    pub(super) shapes: Vec<String>,
    pub(super) variants: Vec<Vec<String>>,
    pub(super) unknown: Option<u64>,
}

/// A reference from columns to columns.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reference {
    pub(super) table: usize,
    pub(super) columns: Vec<String>,
    pub(super) to: (String, String),
    pub(super) to_columns: Vec<String>,
    pub(super) found: bool,
    pub(super) possible: bool,
    pub(super) enforced: bool,
    pub(super) evidence: Vec<String>,
    pub(super) orphans: Option<u64>,
    pub(super) filled: Option<u64>,
    pub(super) sampled: Option<u64>,
    pub(super) problem: Option<String>,
}

impl Facts {
    /// Reads what was printed. What is no fact is passed over; what was told twice counts as it was told last.
    pub(super) fn read<'a>(outputs: impl Iterator<Item = &'a str>) -> Self {
        let mut facts = Self::default();
        for output in outputs {
            let lines = output.lines().filter(|line| line.starts_with('{'));
            for record in lines.filter_map(|line| serde_json::from_str(line).ok()) {
                facts.add(record);
            }
        }
        facts
    }

    fn add(&mut self, record: Record) {
        match record {
            Record::Database(database) => {
                // A new beginning.
                *self = Self {
                    tables: std::mem::take(&mut self.tables),
                    database,
                    ..Self::default()
                };
            }
            Record::Missing(missing) => self.missing.push(missing),
            Record::Found(found) => self.found.push(found),
            Record::Table(table) => {
                self.tables.insert(table.number, *table);
            }
            Record::Column(column) => {
                let Some(table) = self.tables.get_mut(&column.table) else {
                    return;
                };
                match table.columns.iter_mut().find(|known| known.name == column.name) {
                    Some(known) => *known = *column,
                    None => {
                        let at = table.columns.partition_point(|known| known.place <= column.place);
                        table.columns.insert(at, *column);
                    }
                }
            }
            Record::Reference(reference) => self.references.push(reference),
            Record::Related {} => self.related = true,
            Record::End { more } => self.pages.extend(more),
        }
    }
}

/// The tables in groups, one for each call, so that all have their turn in so many turns.
pub(super) fn groups(found: &[Found], turns: usize) -> Vec<Vec<Named<'_>>> {
    let columns: usize = found.iter().map(|table| table.columns.max(1)).sum();
    // Half of the calls may be needed for what does not fit into the results.
    let calls = turns.saturating_sub(4).max(1) * super::CALLS / 2;
    let most = COLUMNS.max(columns / calls);
    let mut groups: Vec<Vec<Named<'_>>> = Vec::new();
    let mut size = usize::MAX;
    for table in found {
        let columns = table.columns.max(1);
        let alone = table.estimate.is_none_or(|rows| rows > ROWS);
        if alone || size.saturating_add(columns) > most {
            groups.push(Vec::new());
            size = 0;
        }
        if let Some(group) = groups.last_mut() {
            group.push(Named {
                number: table.table,
                name: &table.name,
            });
        }
        size = if alone { usize::MAX } else { size + columns };
    }
    groups
}
