//! `docs/settings.md` and `healer.toml.example` are made from the code: the names and words of the settings' types, and
//! the values of `Settings::default()`. `scripts/generate` writes them anew; a test holds them equal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use healer::settings::{Settings, Span};

/// What `{:?}` of the settings says, as a tree.
#[derive(Debug, Clone, PartialEq)]
enum Shown {
    Struct {
        name: String,
        fields: Vec<(String, Shown)>,
    },
    List(Vec<Shown>),
    Map(Vec<(Shown, Shown)>),
    Text(String),
    Length(Duration),
    /// A number, a truth value or a word of an enum.
    Word(String),
    Nothing,
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', ',']);
    }

    fn eat(&mut self, what: char) -> bool {
        self.space();
        let found = self.rest.starts_with(what);
        if found {
            self.rest = &self.rest[what.len_utf8()..];
        }
        found
    }

    fn word(&mut self) -> String {
        self.space();
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || "_.-+".contains(c))).unwrap_or(self.rest.len());
        let word = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        word
    }

    fn text(&mut self) -> String {
        let mut end = 0;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            if c == '"' && !escaped {
                end = at;
                break;
            }
            escaped = c == '\\' && !escaped;
        }
        let raw = &self.rest[..end];
        let text = raw.replace("\\\"", "\"").replace("\\\\", "\\");
        self.rest = &self.rest[end + 1..];
        text
    }

    fn value(&mut self) -> Shown {
        if self.eat('"') {
            return Shown::Text(self.text());
        }
        if self.eat('[') {
            let mut list = Vec::new();
            while !self.eat(']') {
                list.push(self.value());
            }
            return Shown::List(list);
        }
        if self.eat('{') {
            let mut map = Vec::new();
            while !self.eat('}') {
                let key = self.value();
                assert!(self.eat(':'), "{}", self.rest);
                map.push((key, self.value()));
            }
            return Shown::Map(map);
        }
        let word = self.word();
        assert!(!word.is_empty(), "cannot be read: {}", self.rest);
        if self.eat('{') {
            let mut fields = Vec::new();
            while !self.eat('}') {
                let name = self.word();
                assert!(self.eat(':'), "{}", self.rest);
                fields.push((name, self.value()));
            }
            return Shown::Struct { name: word, fields };
        }
        if self.eat('(') {
            let inner = self.value();
            assert!(self.eat(')'), "{}", self.rest);
            return inner;
        }
        if word == "None" {
            return Shown::Nothing;
        }
        let length = |text: &str| -> Option<Duration> {
            let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic())?);
            let number: f64 = number.parse().ok()?;
            match unit {
                "s" => Some(Duration::from_secs_f64(number)),
                "ms" => Some(Duration::from_secs_f64(number / 1_000.0)),
                _ => None,
            }
        };
        length(&word).map_or(Shown::Word(word), Shown::Length)
    }
}

fn shown(settings: &Settings) -> Shown {
    Reader { rest: &format!("{settings:?}") }.value()
}

/// One field of a type, as its source tells.
#[derive(Debug, Clone)]
struct Field {
    rust: String,
    key: String,
    kind: String,
    says: String,
    skipped: bool,
}

#[derive(Debug, Clone)]
struct Type {
    says: String,
    fields: Vec<Field>,
}

/// The words of an enum and what each says.
type Words = Vec<(String, String)>;

#[derive(Debug, Default)]
struct Source {
    structs: BTreeMap<String, Vec<Type>>,
    enums: BTreeMap<String, Words>,
}

fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files(&entry, into);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            into.push(entry);
        }
    }
}

/// Reads the types of all sources. They are formatted by rustfmt: one field, one attribute, one comment a line.
fn source() -> Source {
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    paths.sort();
    let mut source = Source::default();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a source");
        let mut doc = String::new();
        let mut serde = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(words) = line.strip_prefix("///") {
                doc.push_str(words);
            } else if let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {")) {
                let fields = fields(&mut lines);
                source.structs.entry(name.to_owned()).or_default().push(Type { says: doc.trim().to_owned(), fields });
                doc.clear();
            } else if let Some(name) = line.strip_prefix("pub enum ").and_then(|rest| rest.strip_suffix(" {")) {
                if serde.contains("Deserialize") {
                    source.enums.insert(name.to_owned(), variants(&mut lines));
                }
                doc.clear();
            } else if line.starts_with("#[derive") {
                line.clone_into(&mut serde);
            } else if !line.starts_with("#[") {
                doc.clear();
            }
        }
    }
    source
}

fn fields<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<Field> {
    let (mut all, mut doc, mut rename, mut skipped) = (Vec::new(), String::new(), None, false);
    for line in lines.map(str::trim).take_while(|line| *line != "}") {
        if let Some(words) = line.strip_prefix("///") {
            doc.push_str(words);
        } else if line.starts_with("#[serde(") {
            rename = line
                .split_once("rename = \"")
                .and_then(|(_, rest)| rest.split_once('"'))
                .map(|(name, _)| name.to_owned());
            skipped |= line.contains("skip");
        } else if let Some((name, kind)) = line.trim_start_matches("pub ").trim_end_matches(',').split_once(": ") {
            let rust = name.trim_start_matches("r#").to_owned();
            let key = rename.take().unwrap_or_else(|| rust.clone());
            all.push(Field { rust, key, kind: kind.to_owned(), says: doc.trim().to_owned(), skipped });
            (doc, skipped) = (String::new(), false);
        }
    }
    all
}

fn variants<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Words {
    let (mut all, mut doc) = (Words::new(), String::new());
    for line in lines.map(str::trim).take_while(|line| *line != "}") {
        if let Some(words) = line.strip_prefix("///") {
            doc.push_str(words);
        } else if let Some(name) = line.strip_suffix(',') {
            all.push((snake(name), doc.trim().to_owned()));
            doc.clear();
        }
    }
    all
}

/// `OnUnproven` → `on_unproven`, as serde does it.
fn snake(name: &str) -> String {
    let mut word = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_uppercase() && at > 0 {
            word.push('_');
        }
        word.extend(c.to_lowercase());
    }
    word
}

/// A value as it is written in the file; `None` where there is none.
fn toml(value: &Shown) -> Option<String> {
    Some(match value {
        Shown::Text(text) => quoted(text),
        Shown::Length(length) => quoted(&Span(*length).to_string()),
        Shown::Word(word) if word.starts_with(char::is_uppercase) => quoted(&snake(word)),
        Shown::Word(word) => word.clone(),
        Shown::List(list) => format!("[{}]", list.iter().filter_map(toml).collect::<Vec<_>>().join(", ")),
        Shown::Map(map) if map.is_empty() => "{}".to_owned(),
        Shown::Map(map) => {
            let pairs: Vec<String> = map
                .iter()
                .filter_map(|(key, value)| {
                    let Shown::Text(key) = key else { panic!("a key that is no text: {key:?}") };
                    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) && !key.is_empty();
                    let key = if plain { key.clone() } else { quoted(key) };
                    Some(format!("{key} = {}", toml(value)?))
                })
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Shown::Nothing => return None,
        Shown::Struct { name, .. } => panic!("a structure inside of a value: {name}"),
    })
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A table of the file: its path, what it says, and its settings with their defaults.
struct Table {
    path: String,
    says: String,
    rows: Vec<(Field, Option<String>)>,
}

fn tables(source: &Source) -> Vec<Table> {
    let mut all = Vec::new();
    collect("", "", &shown(&Settings::default()), source, &mut all);
    all
}

fn collect(path: &str, says: &str, value: &Shown, source: &Source, into: &mut Vec<Table>) {
    let Shown::Struct { name, fields } = value else { panic!("{path} is no table: {value:?}") };
    // Two types may have one name; their fields tell them apart.
    let known = source
        .structs
        .get(name)
        .into_iter()
        .flatten()
        .find(|known| known.fields.iter().map(|field| &field.rust).eq(fields.iter().map(|(name, _)| name)))
        .unwrap_or_else(|| panic!("the source of {name} is not found"));
    let mut table = Table { path: path.to_owned(), says: known.says.clone(), rows: Vec::new() };
    if table.says.is_empty() {
        says.clone_into(&mut table.says);
    }
    let mut nested = Vec::new();
    for (field, (_, value)) in known.fields.iter().zip(fields).filter(|(field, _)| !field.skipped) {
        if matches!(value, Shown::Struct { .. }) {
            let path = if path.is_empty() { field.key.clone() } else { format!("{path}.{}", field.key) };
            nested.push((path, field.says.clone(), value));
        } else {
            assert!(!field.says.is_empty(), "{path}.{} has no words", field.key);
            table.rows.push((field.clone(), toml(value)));
        }
    }
    if !path.is_empty() {
        into.push(table);
    }
    for (path, says, value) in nested {
        collect(&path, &says, value, source, into);
    }
}

/// What may be written: the unit.
fn unit(kind: &str, source: &Source) -> String {
    let inner = |outer: &str| kind.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>'));
    if let Some(kind) = inner("Option<") {
        return unit(kind, source);
    }
    if let Some(kind) = inner("Vec<") {
        return format!("list: {}", unit(kind, source));
    }
    if let Some((_, kind)) = inner("BTreeMap<").and_then(|kinds| kinds.split_once(", ")) {
        return format!("by name: {}", unit(kind, source));
    }
    match kind.rsplit("::").next().unwrap_or(kind) {
        "Span" => "length of time".into(),
        "String" => "text".into(),
        "bool" => "`true` or `false`".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "whole number".into(),
        "f64" => "number".into(),
        name => match source.enums.get(name) {
            Some(words) => words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            None => name.to_lowercase(),
        },
    }
}

fn meaning(field: &Field, source: &Source) -> String {
    let mut text = field.says.clone();
    let kind = field.kind.rsplit("::").next().unwrap_or(&field.kind);
    if let Some(words) = source.enums.get(kind.trim_start_matches("Option<").trim_end_matches('>')) {
        for (word, says) in words {
            write!(text, " `{word}`: {}", lower(says)).unwrap();
        }
    }
    text
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn page(source: &Source) -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Every setting of `healer.toml` with its default and unit. This page is made from the code (`scripts/generate`).\n\n\
         Without a file healer uses these defaults. `--config F`, else `./healer.toml`, else `/etc/healer/healer.toml`;\n\
         `healer doctor` shows which one is in use. An unknown key is an error that suggests the right one. Lengths of time\n\
         are written `90s`, `30m`, `24h`, `7d`. `healer.toml.example` is the same as a file to copy.\n",
    );
    for table in tables(source) {
        if table.rows.is_empty() {
            continue;
        }
        write!(
            page,
            "\n## `[{}]`\n\n{}\n\n| setting | default | unit | meaning |\n|---|---|---|---|\n",
            table.path, table.says
        )
        .unwrap();
        for (field, default) in &table.rows {
            let default = default.as_ref().map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
            let cells = [format!("`{}`", field.key), default, unit(&field.kind, source), meaning(field, source)];
            let cells = cells.map(|cell| cell.replace('|', "\\|"));
            writeln!(page, "| {} |", cells.join(" | ")).unwrap();
        }
    }
    page
}

/// Comments begin with `# `; a setting stands behind `#` alone, to be switched on by taking it away.
fn example(source: &Source) -> String {
    let mut text = String::from(
        "# healer.toml: every setting with its default. Take the # before a setting away to change it; what stays commented\n\
         # keeps its default. Lengths of time are written 90s, 30m, 24h, 7d. `healer doctor` shows which file is in use.\n",
    );
    for table in tables(source) {
        if table.rows.is_empty() {
            continue;
        }
        write!(text, "\n{}[{}]\n", wrapped(&table.says), table.path).unwrap();
        for (field, default) in &table.rows {
            text.push_str(&wrapped(&meaning(field, source)));
            match default {
                Some(value) => writeln!(text, "#{} = {value}", field.key).unwrap(),
                None => writeln!(text, "# {} has no default", field.key).unwrap(),
            }
        }
    }
    text
}

/// A comment of lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 120 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
    out
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Holds a file equal to what the code makes of it, or writes it where `scripts/generate` asks for that.
fn held(name: &str, made: &str) {
    let path = root().join(name);
    if std::env::var_os("HEALER_GENERATE").is_some() {
        std::fs::write(&path, made).expect("the file is written");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let line = kept.lines().zip(made.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "{name} is not what the code makes (from line {:?}): run scripts/generate",
        line.map(|line| line + 1)
    );
}

#[test]
fn the_page_of_the_settings_is_what_the_code_says() {
    held("docs/settings.md", &page(&source()));
}

#[test]
fn the_example_configuration_holds_every_setting_with_its_default() {
    let text = example(&source());
    held("healer.toml.example", &text);
    // As it is shipped, and with every setting switched on, it means the defaults.
    let on: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') && !setting.is_empty() => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    for text in [&text, &on] {
        let settings = Settings::from_toml(text).unwrap_or_else(|(message, hint)| panic!("{message} ({hint})\n{text}"));
        assert_eq!(shown(&settings), shown(&Settings::default()));
    }
    assert!(on.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count() > 80, "{on}");
}

#[test]
fn each_setting_of_the_example_is_known_under_its_name() {
    // A key that is not read would make the round trip above true for nothing: each one, changed by itself, is refused
    // or changes the settings.
    let source = source();
    let default = shown(&Settings::default());
    for table in tables(&source) {
        for (field, value) in &table.rows {
            let Some(value) = value else { continue };
            let other = match value.as_str() {
                "true" => "false".to_owned(),
                "false" => "true".to_owned(),
                value if value.starts_with(['[', '{']) => "17".to_owned(),
                value if value.starts_with('"') => "\"17d\"".to_owned(),
                _ => "0.123".to_owned(),
            };
            let text = format!("[{}]\n{} = {other}\n", table.path, field.key);
            if let Ok(settings) = Settings::from_toml(&text) {
                assert_ne!(shown(&settings), default, "{text}");
            }
        }
    }
}
