//! How texts escape what is in them, and what that reads as.
//!
//! It must not know what is looked for.

/// One way in which a text may have been escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// `%2f`, as in URLs.
    Percent,
    /// `\n`, `\"`, `\u00e9`, `\u{e9}`, `\xc3`, as in JSON and in most languages.
    Backslash,
    /// `&amp;`, `&#39;`, as in HTML.
    Entity,
}

impl Step {
    pub(super) fn sign(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Backslash => b'\\',
            Self::Entity => b'&',
        }
    }

    /// What the escape at the begin of a text stands for, and its length.
    fn read(self, text: &[u8]) -> Escape {
        match self {
            Self::Percent => match digits(&text[1..], 2) {
                Digits::Value(value) => Escape::byte(value, 3),
                Digits::Cut => Escape::Cut,
                Digits::None => Escape::None,
            },
            Self::Backslash => backslash(text),
            Self::Entity => entity(text),
        }
    }
}

enum Escape {
    /// Stands for something, and is so long.
    Is(Plain, usize),
    Cut,
    None,
}

/// What an escape stands for.
enum Plain {
    Byte(u8),
    Char(char),
}

impl Plain {
    /// Its bytes, put into this place.
    fn bytes<'a>(&self, place: &'a mut [u8; 4]) -> &'a [u8] {
        match self {
            Self::Byte(byte) => {
                place[0] = *byte;
                &place[..1]
            }
            Self::Char(it) => it.encode_utf8(place).as_bytes(),
        }
    }
}

impl Escape {
    fn byte(value: u32, length: usize) -> Self {
        u8::try_from(value).map_or(Self::None, |byte| Self::Is(Plain::Byte(byte), length))
    }

    fn char(value: u32, length: usize) -> Self {
        char::from_u32(value).map_or(Self::None, |it| Self::Is(Plain::Char(it), length))
    }
}

enum Digits {
    Value(u32),
    Cut,
    None,
}

/// So many hexadecimal digits.
fn digits(text: &[u8], count: usize) -> Digits {
    let there = &text[..text.len().min(count)];
    if !there.iter().all(u8::is_ascii_hexdigit) {
        return Digits::None;
    }
    if there.len() < count {
        return Digits::Cut;
    }
    std::str::from_utf8(there)
        .ok()
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .map_or(Digits::None, Digits::Value)
}

fn backslash(text: &[u8]) -> Escape {
    let Some(kind) = text.get(1) else {
        return Escape::Cut;
    };
    let plain = match kind {
        b'0' => 0,
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'"' | b'\'' | b'\\' | b'/' => *kind,
        b'x' => {
            return match digits(&text[2..], 2) {
                Digits::Value(value) => Escape::byte(value, 4),
                Digits::Cut => Escape::Cut,
                Digits::None => Escape::None,
            };
        }
        b'u' => return code_unit(text),
        _ => return Escape::None,
    };
    Escape::Is(Plain::Byte(plain), 2)
}

/// `\u{` and the digits of a character, as Rust and JavaScript write it.
fn code_point(text: &[u8]) -> Escape {
    const LONGEST: usize = 6;
    let there = &text[3..];
    let length = there
        .iter()
        .take(LONGEST)
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    match (there.get(length), digits(there, length)) {
        (None, _) => Escape::Cut,
        (Some(b'}'), Digits::Value(value)) => Escape::char(value, length + 4),
        _ => Escape::None,
    }
}

/// `\u` and four digits, or two of them for one character.
fn code_unit(text: &[u8]) -> Escape {
    if text.get(2) == Some(&b'{') {
        return code_point(text);
    }
    let first = match digits(&text[2..], 4) {
        Digits::Value(value) => value,
        Digits::Cut => return Escape::Cut,
        Digits::None => return Escape::None,
    };
    if !(0xd800..0xdc00).contains(&first) {
        return Escape::char(first, 6);
    }
    let rest = &text[6..];
    if rest.len() < 2 && b"\\u".starts_with(rest) {
        return Escape::Cut;
    }
    if !rest.starts_with(b"\\u") {
        return Escape::None;
    }
    match digits(&rest[2..], 4) {
        Digits::Value(second) if (0xdc00..0xe000).contains(&second) => {
            Escape::char(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        }
        Digits::Cut => Escape::Cut,
        _ => Escape::None,
    }
}

fn entity(text: &[u8]) -> Escape {
    const LONGEST: usize = 12;
    let there = &text[..text.len().min(LONGEST)];
    let Some(end) = there.iter().position(|byte| *byte == b';') else {
        let open = there[1..]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#');
        return if open && there.len() < LONGEST {
            Escape::Cut
        } else {
            Escape::None
        };
    };
    let name = std::str::from_utf8(&there[1..end]).unwrap_or_default();
    let plain = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let value = match name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => name.strip_prefix('#').and_then(|digits| digits.parse().ok()),
            };
            return value.map_or(Escape::None, |value| Escape::char(value, end + 1));
        }
    };
    Escape::Is(Plain::Char(plain), end + 1)
}

pub(super) struct Undone {
    pub(super) bytes: Vec<u8>,
    pub(super) from: Vec<usize>,
    pub(super) complete: usize,
}

pub(super) fn undo(text: &[u8], step: Step) -> Undone {
    let mut bytes = Vec::with_capacity(text.len());
    let mut from = Vec::with_capacity(text.len() + 1);
    let mut complete = None;
    let (mut at, mut place) = (0, [0; 4]);
    while at < text.len() {
        let escape = if text[at] == step.sign() {
            step.read(&text[at..])
        } else {
            Escape::None
        };
        match escape {
            Escape::Is(plain, length) => {
                let plain = plain.bytes(&mut place);
                from.extend(std::iter::repeat_n(at, plain.len()));
                bytes.extend_from_slice(plain);
                at += length;
            }
            Escape::Cut | Escape::None => {
                if matches!(escape, Escape::Cut) {
                    complete.get_or_insert(bytes.len());
                }
                from.push(at);
                bytes.push(text[at]);
                at += 1;
            }
        }
    }
    from.push(text.len());
    let complete = complete.unwrap_or(bytes.len());
    Undone {
        bytes,
        from,
        complete,
    }
}

pub(super) fn undone(text: &str, step: Step) -> String {
    String::from_utf8_lossy(&undo(text.as_bytes(), step).bytes).into_owned()
}
