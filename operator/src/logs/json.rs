//! Lines for machines: an event is one JSON object with its own fields and those of the spans that it is in.
//!
//! It must not know what is secret: each value goes through [`Hidden`] before it is written, so that nothing
//! depends on how it is escaped, and a line is always JSON.

use std::fmt::Debug;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::hidden::Hidden;

/// The names of what every line has. A field of one of these names gets a line below it.
const OWN: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Writes events to `out`.
pub(super) struct Json<M> {
    pub(super) out: M,
    pub(super) hidden: &'static Hidden,
}

/// The fields of a span.
struct Fields(Map<String, Value>);

/// A line.
struct Entry<'a> {
    timestamp: Timestamp,
    level: &'a str,
    target: &'a str,
    message: Option<Value>,
    fields: Map<String, Value>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &format!("{:.6}", self.timestamp))?;
        line.serialize_entry("level", self.level)?;
        line.serialize_entry("target", self.target)?;
        if let Some(message) = &self.message {
            line.serialize_entry("message", message)?;
        }
        for (name, value) in &self.fields {
            if OWN.contains(&name.as_str()) {
                line.serialize_entry(&format!("{name}_"), value)?;
            } else {
                line.serialize_entry(name, value)?;
            }
        }
        line.end()
    }
}

impl Entry<'_> {
    fn write(mut self, hidden: &Hidden, mut out: impl Write) -> io::Result<()> {
        if let Some(all) = hidden.all() {
            if let Some(message) = &mut self.message {
                all.redact_json(message);
            }
            // An object as a whole, so that names are redacted too.
            let mut fields = Value::Object(std::mem::take(&mut self.fields));
            all.redact_json(&mut fields);
            if let Value::Object(fields) = fields {
                self.fields = fields;
            }
        }
        let mut line = serde_json::to_vec(&self)?;
        line.push(b'\n');
        out.write_all(&line)?;
        out.flush()
    }
}

/// Writes what a panic says.
pub(super) fn panicked(text: &str, hidden: &Hidden, out: impl Write) -> io::Result<()> {
    let entry = Entry {
        timestamp: Timestamp::now(),
        level: "ERROR",
        target: "panic",
        message: Some(text.trim_end().into()),
        fields: Map::new(),
    };
    entry.write(hidden, out)
}

impl<S, M> Layer<S> for Json<M>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    M: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Gather(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Fields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(Fields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Gather(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        // From the outermost inwards: where names are the same, the innermost counts.
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(Fields(of_span)) = span.extensions().get() {
                fields.extend(of_span.clone());
            }
        }
        let mut own = Map::new();
        event.record(&mut Gather(&mut own));
        let message = own.remove("message");
        fields.extend(own);
        let metadata = event.metadata();
        let entry = Entry {
            timestamp: Timestamp::now(),
            level: metadata.level().as_str(),
            target: metadata.target(),
            message,
            fields,
        };
        // Where logs can't be written, nobody can be told that they can't.
        let _ = entry.write(self.hidden, self.out.make_writer_for(metadata));
    }
}

/// Makes JSON of fields.
struct Gather<'a>(&'a mut Map<String, Value>);

impl Gather<'_> {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Gather<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::hidden::tests::{Written, of};
    use super::*;

    fn lines(hidden: &'static Hidden, say: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let out = written.clone();
        let layer = Json {
            out: move || out.clone(),
            hidden,
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let mut lines: Vec<Value> = written
            .take()
            .iter()
            .map(|line| serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap())
            .collect();
        for line in &mut lines {
            let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            let time = time.as_str().unwrap();
            assert!(time.ends_with('Z') && time.parse::<Timestamp>().is_ok(), "{time}");
        }
        lines
    }

    #[test]
    fn an_event_has_the_fields_of_its_spans() {
        static HIDDEN: Hidden = Hidden::nothing();
        let lines = lines(&HIDDEN, || {
            let outer = tracing::info_span!("session", catalog = "shop/sales", run = tracing::field::Empty);
            let _outer = outer.enter();
            tracing::warn!("first\nof two");
            outer.record("run", "20261121T120000Z");
            let _inner = tracing::info_span!("attempt", attempt = 2_u32, catalog = "inner").entered();
            tracing::info!(level = "own", ratio = 0.5, ok = true, error = %"it is so", debug = ?Some(1), catalog_count = -3);
        });
        let target = module_path!();
        assert_eq!(
            lines,
            [
                json!({"level": "WARN", "target": target, "message": "first\nof two", "catalog": "shop/sales"}),
                json!({
                    "level": "INFO", "target": target, "run": "20261121T120000Z", "attempt": 2, "catalog": "inner",
                    "level_": "own", "ratio": 0.5, "ok": true, "error": "it is so", "debug": "Some(1)",
                    "catalog_count": -3,
                }),
            ]
        );
    }

    #[test]
    fn secrets_are_in_no_line_and_lines_stay_json() {
        static HIDDEN: Hidden = Hidden::nothing();
        // After a line's end, which JSON writes as \n, a secret begins with n.
        let _hiding = HIDDEN.add(of("nhunter2-xyz"));
        let _other = HIDDEN.add(of("sw0rd\"fish-1"));
        let _number = HIDDEN.add(of("123456789012"));
        let lines = lines(&HIDDEN, || {
            let _span = tracing::info_span!("run", url = "postgres://a:nhunter2-xyz@b/c").entered();
            tracing::warn!(token = ?"sw0rd\"fish-1", number = 123_456_789_012_u64, "\nnhunter2-xyz\nhunter2-xyz");
        });
        assert_eq!(
            lines,
            [json!({
                "level": "WARN", "target": module_path!(), "message": "\n[redacted]\nhunter2-xyz",
                "url": "postgres://a:[redacted]@b/c", "token": "\"[redacted]\"", "number": "[redacted]",
            })]
        );
    }

    #[test]
    fn a_panic_is_a_line_too() {
        static HIDDEN: Hidden = Hidden::nothing();
        let _hiding = HIDDEN.add(of("hunter2-xyz"));
        let written = Written::default();
        panicked("it is hunter2-xyz\nat\n", &HIDDEN, written.clone()).unwrap();
        let line = written.take().concat();
        assert_eq!(line.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["message"], "it is [redacted]\nat");
        assert_eq!(line["level"], "ERROR");
    }
}
