//! Joins fingerprints that differ only in variable places.
//!
//! Masking cannot tell `user root` from `user guest`: whether a plain word is a variable shows only beside the others.
//! The partition into groups is a pure function of the *set* of fingerprints: the order in which they came, how often
//! each came and in how many batches play no part, and a larger set joins more and never splits what was joined.
//!
//! How it is found. A message is a row of words and signs. Taking out one word leaves a *frame*. Where four different
//! words have stood in one frame ([`MIN_WORDS`]) the place is variable and its fingerprints are joined; the place is
//! then a variable of the joined row, whose frames are looked at again, until nothing more joins. Words that name a
//! state rather than a thing (`started`, `pausing`, `ECONNRESET`, `TypeError`) never count as evidence. Once a place is
//! known as variable, rows that have up to three words in it join as well. Stack traces are variable as a whole.
//!
//! Its limits: at most [`MAX_FINGERPRINTS`] fingerprints are kept, those with the smallest numbers, which is again
//! independent of order. The rest is counted under the beginnings of their texts (at most [`MAX_BEGINNINGS`]), and what is
//! left in one last count: nothing is lost from the counts, however many distinct messages there are.

use std::borrow::Cow;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

use super::fingerprint::{FingerprintId, FingerprintRef, Fnv, VERSION, says_something};
use super::template::VARIABLE;

/// Fingerprints that are kept. A text has at most half a kilobyte, so this is at most 16 MB, and no system has that many
/// distinct errors that masking leaves apart.
pub const MAX_FINGERPRINTS: usize = 32_768;
/// Beginnings under which further fingerprints are counted.
pub const MAX_BEGINNINGS: usize = 4_096;
/// Different words in one frame that prove a place variable. Three values are often an enumeration (root, guest, test);
/// from four on an enumeration is rare, and those that exist name states, which do not count.
pub const MIN_WORDS: usize = 4;
/// The same where the frame has only one word besides.
const MIN_WORDS_SHORT: usize = 6;
/// A masked value in the same place counts as this many words.
const VARIABLE_WEIGHT: usize = 2;
/// Words in one column, among rows that begin alike and have their variables in the same places, that prove the column
/// variable even though each row differs from the others in more than one.
const MIN_COLUMN: usize = 24;
/// Weight of a word that was found to be a value behind the same two words elsewhere (`opened for user root`, when
/// `closed for user root` has shown that users vary), and of a word with a number in it.
const VALUE_WEIGHT: usize = 2;
/// Words that one variable may stand for. With three, `for invalid user x` would be taken for a name behind `for`.
const MAX_WORDS_IN_PLACE: usize = 2;
/// Rounds of joining. Each round makes at least one place variable; messages have few.
const MAX_ROUNDS: usize = 16;

/// What is kept with a fingerprint and added up over a group: a count, times, affected jobs.
pub trait Tally: Default {
    /// Takes in what `other` has; the order must not matter.
    fn merge(&mut self, other: Self);
}

impl Tally for u64 {
    fn merge(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

/// Hashes of fingerprints are good hashes already.
#[derive(Default, Clone, Copy)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        // FNV's low bits are good, its high bits less so; the table uses both ends.
        mix(self.0)
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = (self.0 << 8) | u64::from(b);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type ByHash<V> = HashMap<u64, V, BuildHasherDefault<Identity>>;

/// The finalizer of splitmix64.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Debug)]
struct Kept<T> {
    context: u64,
    text: Box<str>,
    message_end: usize,
    beginning: u64,
    tally: T,
}

/// Collects fingerprints and joins them into groups.
pub struct Grouper<T> {
    kept: ByHash<Kept<T>>,
    largest: BinaryHeap<u64>,
    capacity: usize,
    beginnings: BTreeMap<u64, T>,
    rest: Option<T>,
}

/// A fingerprint as it is stored between runs; `text` is masked and holds no secrets beyond what masking leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFingerprint {
    /// Its number.
    pub id: FingerprintId,
    /// The number of its context, as a fingerprint is printed.
    pub context: FingerprintId,
    /// The masked text.
    pub text: String,
    /// Bytes of `text` that are the message; the rest is its stack trace.
    pub message_end: usize,
}

/// One pattern: fingerprints that differ only in variable places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group<T> {
    /// Version of masking and grouping.
    pub version: u16,
    /// The smallest of its fingerprints. It names the group; a group keeps being recognised by *any* of its fingerprints.
    pub key: FingerprintId,
    /// The text with `<*>` in its variable places.
    pub template: String,
    /// Its fingerprints, ascending.
    pub fingerprints: Vec<StoredFingerprint>,
    /// The sum over its fingerprints.
    pub tally: T,
    /// Part of `tally` that was counted by the beginning of the text only, because there were too many fingerprints.
    pub by_beginning: bool,
}

/// All groups, and what found no place in any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups<T> {
    /// Ordered by key.
    pub groups: Vec<Group<T>>,
    /// What was counted and belongs to no group: distinct texts beyond all bounds.
    pub rest: Option<T>,
}

impl<T: Tally> Default for Grouper<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Tally> Grouper<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self::with_capacity(MAX_FINGERPRINTS)
    }

    /// One that keeps at most `capacity` fingerprints.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            kept: ByHash::default(),
            largest: BinaryHeap::new(),
            capacity: capacity.max(1),
            beginnings: BTreeMap::new(),
            rest: None,
        }
    }

    /// Adds what was stored by earlier runs, without counting anything.
    pub fn remember(&mut self, stored: &StoredFingerprint) {
        let end = stored.message_end.min(stored.text.len());
        let end = if stored.text.is_char_boundary(end) { end } else { stored.text.len() };
        self.insert(stored.id.0, stored.context.0, &stored.text, end, T::default());
    }

    /// Adds one fingerprint with what is known of its occurrences.
    pub fn add(&mut self, fingerprint: FingerprintRef<'_>, tally: T) {
        let masked = fingerprint.masked;
        self.insert(fingerprint.id.0, fingerprint.context, masked.text(), masked.message().len(), tally);
    }

    /// Adds one occurrence in place: cheaper than [`Grouper::add`] where a tally is large.
    pub fn count(&mut self, fingerprint: FingerprintRef<'_>, tally: impl FnOnce(&mut T)) {
        if let Some(kept) = self.kept.get_mut(&fingerprint.id.0) {
            tally(&mut kept.tally);
            return;
        }
        let mut one = T::default();
        tally(&mut one);
        self.add(fingerprint, one);
    }

    /// Distinct fingerprints that are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    fn insert(&mut self, id: u64, context: u64, text: &str, message_end: usize, tally: T) {
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.tally.merge(tally);
            return;
        }
        let beginning = beginning(context, text);
        if self.kept.len() >= self.capacity {
            // The smallest numbers stay: whichever came first, the same ones are kept in the end.
            if self.largest.peek().is_some_and(|&largest| id > largest) {
                self.count_by_beginning(beginning, tally);
                return;
            }
            if let Some(largest) = self.largest.pop()
                && let Some(gone) = self.kept.remove(&largest)
            {
                self.count_by_beginning(gone.beginning, gone.tally);
            }
        }
        self.largest.push(id);
        self.kept.insert(id, Kept { context, text: text.into(), message_end, beginning, tally });
    }

    fn count_by_beginning(&mut self, beginning: u64, tally: T) {
        if let Some(counted) = self.beginnings.get_mut(&beginning) {
            counted.merge(tally);
            return;
        }
        self.beginnings.insert(beginning, tally);
        if self.beginnings.len() > MAX_BEGINNINGS
            && let Some((_, gone)) = self.beginnings.pop_last()
        {
            self.rest.get_or_insert_with(T::default).merge(gone);
        }
    }

    /// The groups. They depend on the set of fingerprints alone.
    pub fn groups(self) -> Groups<T> {
        let mut kept: Vec<(u64, Kept<T>)> = self.kept.into_iter().collect();
        kept.sort_unstable_by_key(|(id, _)| *id);
        let rows: Vec<(u64, &str)> = kept
            .iter()
            .map(|(_, k)| {
                let message = &k.text[..k.message_end];
                // A message that says nothing is told apart by its stack trace.
                (k.context, if says_something(message) { message } else { &*k.text })
            })
            .collect();
        let joined = join(&rows);
        let mut groups: Vec<Group<T>> = Vec::with_capacity(joined.templates.len());
        let mut beginnings = self.beginnings;
        let mut shares: ByHash<(usize, usize)> = ByHash::default();
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); joined.templates.len()];
        for (row, &group) in joined.group_of.iter().enumerate() {
            members[group].push(row);
        }
        // Which group holds most fingerprints of a beginning; ties go to the group with the smaller key.
        for (group, rows) in members.iter().enumerate() {
            let mut own: ByHash<usize> = ByHash::default();
            for &row in rows {
                *own.entry(kept[row].1.beginning).or_default() += 1;
            }
            for (beginning, count) in own {
                let best = shares.entry(beginning).or_insert((count, group));
                if count > best.0 || (count == best.0 && group < best.1) {
                    *best = (count, group);
                }
            }
        }
        let mut kept: Vec<Option<(u64, Kept<T>)>> = kept.into_iter().map(Some).collect();
        for (rows, template) in members.iter().zip(joined.templates) {
            let mut tally = T::default();
            let mut fingerprints = Vec::with_capacity(rows.len());
            for &row in rows {
                if let Some((id, k)) = kept[row].take() {
                    tally.merge(k.tally);
                    fingerprints.push(StoredFingerprint {
                        id: FingerprintId(id),
                        context: FingerprintId(k.context),
                        text: k.text.into(),
                        message_end: k.message_end,
                    });
                }
            }
            let Some(first) = fingerprints.first() else { continue };
            groups.push(Group { version: VERSION, key: first.id, template, fingerprints, tally, by_beginning: false });
        }
        let mut rest = self.rest;
        while let Some((beginning, tally)) = beginnings.pop_first() {
            match shares.get(&beginning).and_then(|&(_, group)| groups.get_mut(group)) {
                Some(group) => {
                    group.tally.merge(tally);
                    group.by_beginning = true;
                }
                None => rest.get_or_insert_with(T::default).merge(tally),
            }
        }
        Groups { groups, rest }
    }
}

/// A coarse address of a text: its context and its first two words.
fn beginning(context: u64, text: &str) -> u64 {
    let mut hash = Fnv::new();
    hash.write(&context.to_be_bytes());
    for word in text.split(' ').take(2) {
        hash.write(word.as_bytes());
        hash.write(b" ");
    }
    mix(hash.0)
}

// ---------------------------------------------------------------------------------------------------------------------
// Joining
// ---------------------------------------------------------------------------------------------------------------------

/// The hash of a variable place.
const VARIABLE_WORD: u64 = 0x2a2a_2a2a_2a2a_2a2a;
/// The hash of a phrase that says that time ran out.
const TIMEOUT_PHRASE: u64 = 0x7474_7474_7474_7474;
/// Base of the polynomial hashes; odd, with its bits spread.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

struct Joined {
    /// For each row the number of its group; groups are numbered by their first row.
    group_of: Vec<usize>,
    templates: Vec<String>,
}

#[derive(Clone)]
struct Word {
    hash: u64,
    start: u32,
    end: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A sign, which is never a variable.
    Sign,
    /// A word that may be one.
    Thing,
    /// A word with a masked number in it.
    Numbered,
    /// A word that names a state: it never proves that its place is variable.
    State,
    /// Masked, or found to vary.
    Variable,
}

#[derive(Clone)]
struct Row {
    context: u64,
    words: Vec<Word>,
    text: usize,
    /// Whether a place was found to vary by comparison.
    generalised: bool,
}

impl Row {
    fn identity(&self) -> u64 {
        mix(self.context ^ self.words.iter().fold(0, |hash: u64, word| hash.wrapping_mul(BASE).wrapping_add(word.hash)))
    }
}

fn words_of(text: &str) -> Vec<Word> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let b = bytes[i];
        if b == b' ' {
            i += 1;
            continue;
        }
        let start = i;
        if bytes[i..].starts_with(VARIABLE.as_bytes()) && !bytes.get(i + VARIABLE.len()).is_some_and(|&b| in_word(b)) {
            i += VARIABLE.len();
            words.push(place(VARIABLE_WORD, start, i, Kind::Variable));
            continue;
        }
        if !in_word(b) && !bytes[i..].starts_with(VARIABLE.as_bytes()) {
            i += 1;
            words.push(place(mix(u64::from(b)), start, i, Kind::Sign));
            continue;
        }
        while i < bytes.len()
            && !bytes[i..].starts_with(b"..")
            && (in_word(bytes[i]) || bytes[i..].starts_with(VARIABLE.as_bytes()))
        {
            i += if bytes[i] == b'<' { VARIABLE.len() } else { 1 };
        }
        if i == start {
            i += 1;
        }
        let word = &text[start..i];
        let opens = words
            .last()
            .is_none_or(|last: &Word| last.kind == Kind::Sign && text.as_bytes()[last.start as usize] == b':');
        let mut hash = Fnv::new();
        hash.write(folded(word, opens).as_bytes());
        let kind = if word.contains(VARIABLE) {
            Kind::Numbered
        } else if names_a_state(word) {
            Kind::State
        } else {
            Kind::Thing
        };
        words.push(place(mix(hash.0), start, i, kind));
    }
    one_timeout(text, words)
}

/// `Timed` and `timed` where a sentence begins are one word; elsewhere a capital may mean something.
fn folded(word: &str, opens: bool) -> Cow<'_, str> {
    let mut letters = word.bytes();
    if opens && letters.next().is_some_and(|b| b.is_ascii_uppercase()) && letters.all(|b| b.is_ascii_lowercase()) {
        Cow::Owned(word.to_ascii_lowercase())
    } else {
        Cow::Borrowed(word)
    }
}

/// Every client words its time-outs in its own way (`Timeout 30000ms exceeded`, `timeout of 30 s reached`, `timed out
/// after 30s`); the phrase as a whole becomes one word, so that the rest of the message decides.
fn one_timeout(text: &str, words: Vec<Word>) -> Vec<Word> {
    let is = |word: &Word, wanted: &[&str]| {
        let own = text.get(word.start as usize..word.end as usize).unwrap_or_default();
        wanted.iter().any(|wanted| own.eq_ignore_ascii_case(wanted))
    };
    if !words.iter().any(|word| is(word, &["timeout", "time-out", "timed", "timedout", "time"])) {
        return words;
    }
    let mut out: Vec<Word> = Vec::with_capacity(words.len());
    let mut i = 0;
    while i < words.len() {
        let word = &words[i];
        let length = if is(word, &["timeout", "time-out", "timedout"]) {
            1
        } else if is(word, &["timed", "time"]) && words.get(i + 1).is_some_and(|next| is(next, &["out"])) {
            2
        } else {
            out.push(word.clone());
            i += 1;
            continue;
        };
        let mut end = i + length;
        while words.get(end).is_some_and(|next| {
            next.kind == Kind::Variable
                || is(next, &["of", "after", "exceeded", "expired", "reached", "elapsed", "occurred", "while", ":"])
        }) {
            end += 1;
        }
        out.push(Word { hash: TIMEOUT_PHRASE, start: word.start, end: words[end - 1].end, kind: Kind::State });
        i = end;
    }
    out
}

fn place(hash: u64, start: usize, end: usize, kind: Kind) -> Word {
    let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Word { hash, start: bound(start), end: bound(end), kind }
}

fn in_word(b: u8) -> bool {
    b >= 0x80
        || b.is_ascii_alphanumeric()
        || matches!(b, b'_' | b'-' | b'.' | b'/' | b'\\' | b'~' | b'@' | b'$' | b'\'')
}

/// `started`, `waiting`; `ECONNRESET`, `SCREEN_ON`; `TypeError`, `TimeoutException`: words by which messages differ
/// because different things happened.
fn names_a_state(word: &str) -> bool {
    let bytes = word.as_bytes();
    let letters = bytes.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let capitals = letters >= 2 && !bytes.iter().any(u8::is_ascii_lowercase);
    let verb = bytes.len() > 4 && (word.ends_with("ed") || word.ends_with("ing"));
    capitals || verb || word.ends_with("Error") || word.ends_with("Exception") || word.ends_with("Failure")
}

fn join(texts: &[(u64, &str)]) -> Joined {
    let mut groups = Union::new(texts.len());
    let mut rows: Vec<Row> = texts
        .iter()
        .enumerate()
        .map(|(text, &(context, message))| Row { context, words: words_of(message), text, generalised: false })
        .collect();
    // Rows that read the same from the start: the same message with another stack trace.
    unite_equal(&rows, &mut groups);
    let mut values = Values::default();
    for _ in 0..MAX_ROUNDS {
        let mut changed = false;
        generalise(&mut rows, &mut groups, &mut values);
        changed |= by_frame(&rows, &mut groups, &values);
        changed |= by_column(&rows, &mut groups);
        changed |= by_length(&rows, &mut groups);
        if !changed {
            break;
        }
    }
    generalise(&mut rows, &mut groups, &mut values);
    let mut number: HashMap<usize, usize> = HashMap::new();
    let mut group_of = Vec::with_capacity(texts.len());
    let mut templates = Vec::new();
    let template: HashMap<usize, String> =
        rows.iter().map(|row| (groups.find(row.text), render(row, texts[row.text].1))).collect();
    for text in 0..texts.len() {
        let root = groups.find(text);
        let next = number.len();
        let group = *number.entry(root).or_insert(next);
        if group == next {
            templates.push(template.get(&root).cloned().unwrap_or_default());
        }
        group_of.push(group);
    }
    Joined { group_of, templates }
}

fn render(row: &Row, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut last = 0;
    for word in &row.words {
        let (start, end) = (word.start as usize, word.end as usize);
        out.push_str(text.get(last..start).unwrap_or_default());
        out.push_str(if word.kind == Kind::Variable { VARIABLE } else { text.get(start..end).unwrap_or_default() });
        last = end;
    }
    out.push_str(text.get(last..).unwrap_or_default());
    out
}

fn unite_equal(rows: &[Row], groups: &mut Union) -> bool {
    let mut first: ByHash<usize> = ByHash::default();
    let mut changed = false;
    for row in rows {
        let seen = *first.entry(row.identity()).or_insert(row.text);
        changed |= groups.unite(seen, row.text);
    }
    changed
}

/// Makes one row of each group: a place in which its rows differ is variable. Rows of another length than the group's
/// first stay aside, their words were found to fit already.
fn generalise(rows: &mut Vec<Row>, groups: &mut Union, values: &mut Values) {
    loop {
        let mut by_group: HashMap<usize, usize> = HashMap::with_capacity(rows.len());
        let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
        for row in rows.drain(..) {
            let root = groups.find(row.text);
            let Some(&at) = by_group.get(&root) else {
                by_group.insert(root, merged.len());
                merged.push(row);
                continue;
            };
            let own = &mut merged[at];
            if own.words.len() == row.words.len() {
                for i in 0..own.words.len() {
                    let other = &row.words[i];
                    if own.words[i].hash != other.hash {
                        values.learn(&row.words, i);
                        values.learn(&own.words, i);
                        let word = &mut own.words[i];
                        word.hash = VARIABLE_WORD;
                        word.kind = Kind::Variable;
                        own.generalised = true;
                    }
                }
            } else if row.words.len() < own.words.len() {
                // The shorter row is the one in which a variable stands for several words.
                *own = Row { generalised: own.generalised || row.generalised, ..row };
            }
        }
        for row in &mut merged {
            close_up(row);
        }
        *rows = merged;
        if !unite_equal(rows, groups) {
            return;
        }
    }
}

/// Words that were found to be values, by the two words before them.
#[derive(Default)]
struct Values {
    known: HashSet<u64, BuildHasherDefault<Identity>>,
}

impl Values {
    fn address(words: &[Word], at: usize) -> Option<u64> {
        let word = &words[at];
        if at < 2 || matches!(word.kind, Kind::Variable | Kind::Sign) || words[at - 1].kind == Kind::Variable {
            return None;
        }
        Some(frame(word.hash, words[at - 2].hash, words[at - 1].hash))
    }

    fn learn(&mut self, words: &[Word], at: usize) {
        if let Some(address) = Self::address(words, at) {
            self.known.insert(address);
        }
    }

    fn knows(&self, words: &[Word], at: usize) -> bool {
        Self::address(words, at).is_some_and(|address| self.known.contains(&address))
    }
}

/// Neighbouring variables become one.
fn close_up(row: &mut Row) {
    let mut kept: Vec<Word> = Vec::with_capacity(row.words.len());
    for word in row.words.drain(..) {
        match kept.last_mut() {
            Some(last) if last.kind == Kind::Variable && word.kind == Kind::Variable => last.end = word.end,
            _ => kept.push(word),
        }
    }
    row.words = kept;
}

/// Hashes of everything before and everything after each place.
fn edges(words: &[Word]) -> (Vec<u64>, Vec<u64>) {
    let mut before = Vec::with_capacity(words.len() + 1);
    before.push(1_u64);
    for word in words {
        let last = before[before.len() - 1];
        before.push(last.wrapping_mul(BASE).wrapping_add(word.hash));
    }
    let mut after = vec![1_u64; words.len() + 1];
    for (at, word) in words.iter().enumerate().rev() {
        after[at] = after[at + 1].wrapping_mul(BASE).wrapping_add(word.hash);
    }
    (before, after)
}

fn frame(context: u64, before: u64, after: u64) -> u64 {
    mix(context ^ mix(before) ^ after.rotate_left(32))
}

struct Stand {
    frame: u64,
    word: u64,
    row: u32,
    kind: Kind,
    value: bool,
    short: bool,
}

fn by_frame(rows: &[Row], groups: &mut Union, values: &Values) -> bool {
    let mut stands: Vec<Stand> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let (before, after) = edges(&row.words);
        let plain =
            row.words.iter().filter(|word| matches!(word.kind, Kind::Thing | Kind::Numbered | Kind::State)).count();
        for (i, word) in row.words.iter().enumerate() {
            // The first word says what the message is about, unless it carries a number.
            if word.kind == Kind::Sign || (i == 0 && matches!(word.kind, Kind::Thing | Kind::State)) {
                continue;
            }
            let others = plain - usize::from(word.kind != Kind::Variable);
            if others == 0 {
                continue;
            }
            stands.push(Stand {
                frame: frame(row.context, before[i], after[i + 1]),
                word: word.hash,
                row: u32::try_from(at).unwrap_or(u32::MAX),
                kind: word.kind,
                value: values.knows(&row.words, i),
                short: others < 2,
            });
        }
    }
    stands.sort_unstable_by_key(|stand| (stand.frame, stand.word, stand.row));
    let mut changed = false;
    for run in stands.chunk_by(|a, b| a.frame == b.frame) {
        if run.len() < 2 {
            continue;
        }
        let mut weight = 0;
        let mut last = None;
        for stand in run {
            if last == Some(stand.word) {
                continue;
            }
            last = Some(stand.word);
            weight += match stand.kind {
                Kind::Thing | Kind::Numbered | Kind::State if stand.value => VALUE_WEIGHT,
                Kind::Numbered => VALUE_WEIGHT,
                Kind::Thing => 1,
                Kind::Variable if rows[stand.row as usize].generalised => MIN_WORDS_SHORT,
                Kind::Variable => VARIABLE_WEIGHT,
                Kind::State | Kind::Sign => 0,
            };
        }
        if weight >= if run[0].short { MIN_WORDS_SHORT } else { MIN_WORDS } {
            for stand in &run[1..] {
                changed |= groups.unite(rows[run[0].row as usize].text, rows[stand.row as usize].text);
            }
        }
    }
    changed
}

fn by_column(rows: &[Row], groups: &mut Union) -> bool {
    let mut buckets: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if row.words.len() < 3 {
            continue;
        }
        let mut hash = row.context;
        for (i, word) in row.words.iter().enumerate() {
            let shape = match word.kind {
                Kind::Thing | Kind::Numbered | Kind::State if i > 0 => 1,
                _ => word.hash,
            };
            hash = mix(hash ^ shape);
        }
        buckets.entry(hash).or_default().push(at);
    }
    let mut changed = false;
    for bucket in buckets.values().filter(|bucket| bucket.len() >= MIN_COLUMN) {
        let width = rows[bucket[0]].words.len();
        let mut varies = vec![false; width];
        for (column, varies) in varies.iter_mut().enumerate().skip(1) {
            let mut words: Vec<u64> = bucket
                .iter()
                .map(|&at| &rows[at].words[column])
                .filter(|word| matches!(word.kind, Kind::Thing | Kind::Numbered))
                .map(|word| word.hash)
                .collect();
            words.sort_unstable();
            words.dedup();
            *varies = words.len() >= MIN_COLUMN;
        }
        let constant = rows[bucket[0]]
            .words
            .iter()
            .zip(&varies)
            .filter(|(word, varies)| !**varies && matches!(word.kind, Kind::Thing | Kind::Numbered | Kind::State))
            .count();
        if constant < 2 {
            continue;
        }
        let mut first: ByHash<usize> = ByHash::default();
        for &at in bucket {
            let row = &rows[at];
            let hash =
                row.words.iter().zip(&varies).fold(row.context, |hash, (word, varies)| {
                    mix(hash ^ if *varies { VARIABLE_WORD } else { word.hash })
                });
            let seen = *first.entry(hash).or_insert(row.text);
            changed |= groups.unite(seen, row.text);
        }
    }
    changed
}

/// Rows in which several words stand where a generalised row has one variable.
fn by_length(rows: &[Row], groups: &mut Union) -> bool {
    let mut frames: ByHash<usize> = ByHash::default();
    for row in rows.iter().filter(|row| row.generalised) {
        let plain =
            row.words.iter().filter(|word| matches!(word.kind, Kind::Thing | Kind::Numbered | Kind::State)).count();
        if plain < 2 {
            continue;
        }
        let (before, after) = edges(&row.words);
        for (i, word) in row.words.iter().enumerate().skip(1) {
            if word.kind == Kind::Variable {
                frames.insert(frame(row.context, before[i], after[i + 1]), row.text);
            }
        }
    }
    if frames.is_empty() {
        return false;
    }
    let mut changed = false;
    for row in rows {
        let (before, after) = edges(&row.words);
        for i in 1..row.words.len() {
            for count in 2..=MAX_WORDS_IN_PLACE {
                let Some(inside) = row.words.get(i..i + count) else { break };
                if inside.iter().any(|word| word.kind == Kind::Sign) {
                    break;
                }
                if let Some(&text) = frames.get(&frame(row.context, before[i], after[i + count])) {
                    changed |= groups.unite(text, row.text);
                }
            }
        }
    }
    changed
}

/// Disjoint sets; the smallest member stands for its set, so that the outcome does not depend on the order of joining.
struct Union {
    parent: Vec<usize>,
}

impl Union {
    fn new(size: usize) -> Self {
        Self { parent: (0..size).collect() }
    }

    fn find(&mut self, mut member: usize) -> usize {
        while self.parent[member] != member {
            self.parent[member] = self.parent[self.parent[member]];
            member = self.parent[member];
        }
        member
    }

    fn unite(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return false;
        }
        let (small, large) = (a.min(b), a.max(b));
        self.parent[large] = small;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::fingerprint::{ErrorEvent, Fingerprinter, Severity};
    use super::*;
    use proptest::prelude::*;

    fn grouped<'a>(messages: impl IntoIterator<Item = &'a str>) -> Groups<u64> {
        let mut fingerprinter = Fingerprinter::new();
        let mut grouper = Grouper::new();
        for message in messages {
            grouper.add(fingerprinter.fingerprint(&ErrorEvent { message, ..ErrorEvent::default() }), 1);
        }
        grouper.groups()
    }

    fn templates(groups: &Groups<u64>) -> BTreeSet<String> {
        groups.groups.iter().map(|group| group.template.clone()).collect()
    }

    /// The partition as sets of fingerprints.
    fn partition<T>(groups: &Groups<T>) -> BTreeSet<Vec<FingerprintId>> {
        groups
            .groups
            .iter()
            .map(|group| group.fingerprints.iter().map(|fingerprint| fingerprint.id).collect())
            .collect()
    }

    #[test]
    fn thirty_one_wordings_of_one_time_out_are_one_pattern() {
        let mut messages: Vec<String> = Vec::new();
        for (i, name) in ["div", "[data-testid=\"tweetTextarea_0\"] > span", "#post", "a.b"].iter().enumerate() {
            let i = i + 1;
            messages.extend([
                format!("Timeout {}ms exceeded waiting for selector '{name}'", i * 10_000),
                format!("Timeout {i} s exceeded waiting for selector \"{name}\""),
                format!("timeout of {i}.5 seconds exceeded while waiting for selector `{name}`"),
                format!("Timed out after {i}s waiting for selector '{name}'"),
                format!("timed out after {} minutes waiting for selector '{name}'", i * 7),
                format!("Time out after 0x{i:04x} waiting for selector \"{name}\""),
                format!("time-out {} waiting for selector https://x.com/{i}", i * 11),
                format!("Timeout: waiting for selector 550e8400-e29b-41d4-a716-44665544000{i}"),
            ]);
        }
        messages.truncate(31);
        let groups = grouped(messages.iter().map(String::as_str));
        assert_eq!(groups.groups.len(), 1, "{:#?}", templates(&groups));
        assert_eq!(groups.groups[0].tally, 31);
    }

    #[test]
    fn one_text_at_two_severities_is_two_patterns() {
        let mut fingerprinter = Fingerprinter::new();
        let mut grouper: Grouper<u64> = Grouper::new();
        for severity in [Severity::Info, Severity::Error] {
            grouper.add(
                fingerprinter.fingerprint(&ErrorEvent { severity, message: "lost 3 posts", ..ErrorEvent::default() }),
                1,
            );
        }
        assert_eq!(grouper.groups().groups.len(), 2);
    }

    #[test]
    fn four_names_in_one_place_are_a_variable_and_three_are_not() {
        let three = ["login of user root failed", "login of user guest failed", "login of user test failed"];
        assert_eq!(grouped(three).groups.len(), 3);
        let groups = grouped(three.into_iter().chain(["login of user jane failed"]));
        assert_eq!(templates(&groups), BTreeSet::from(["login of user <*> failed".to_owned()]));
    }

    #[test]
    fn states_and_error_names_never_become_a_variable() {
        let states = ["started", "paused", "resumed", "stopped", "deleted", "created"]
            .map(|state| format!("machine of worker {state} again"));
        assert_eq!(grouped(states.iter().map(String::as_str)).groups.len(), 6);
        let codes = ["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOTFOUND", "ETIMEDOUT"]
            .map(|code| format!("connect to database {code} now"));
        assert_eq!(grouped(codes.iter().map(String::as_str)).groups.len(), 5);
    }

    #[test]
    fn a_name_of_two_words_joins_once_its_place_is_known_as_variable() {
        let groups = grouped([
            "Invalid user anna from 1.2.3.4",
            "Invalid user bert from 1.2.3.4",
            "Invalid user carl from 1.2.3.4",
            "Invalid user dora from 1.2.3.4",
            "Invalid user boris zhang from 1.2.3.4",
            "Invalid user test9 from 1.2.3.4",
        ]);
        assert_eq!(templates(&groups), BTreeSet::from(["Invalid user <*> from <*>".to_owned()]));
    }

    #[test]
    fn the_same_message_from_two_call_sites_is_one_pattern_with_two_fingerprints() {
        let groups =
            grouped(["boom in core\n    at f (/a.js:1:2)", "boom in core\n    at g (/a.js:1:2)", "boom in core"]);
        assert_eq!(groups.groups.len(), 1);
        assert_eq!(groups.groups[0].fingerprints.len(), 3);
        assert_eq!(groups.groups[0].template, "boom in core");
    }

    #[test]
    fn a_million_distinct_messages_stay_bounded_and_counted() {
        let mut fingerprinter = Fingerprinter::new();
        let mut grouper: Grouper<u64> = Grouper::with_capacity(100);
        let letters = |mut number: u32| {
            let mut word = String::new();
            for _ in 0..7 {
                word.push(char::from_digit(10 + number % 26, 36).unwrap_or('x'));
                number /= 26;
            }
            word
        };
        for number in 0..20_000_u32 {
            // Many beginnings as well, so that both bounds are met.
            let message = format!("{} {} broke", letters(number), letters(number.wrapping_mul(2_654_435_761)));
            grouper.add(fingerprinter.fingerprint(&ErrorEvent { message: &message, ..ErrorEvent::default() }), 1);
        }
        assert_eq!(grouper.len(), 100);
        let groups = grouper.groups();
        let counted = groups.groups.iter().map(|group| group.tally).sum::<u64>() + groups.rest.unwrap_or_default();
        assert_eq!(counted, 20_000);
    }

    #[test]
    fn what_exceeds_the_bound_is_counted_with_the_group_of_its_beginning() {
        let mut fingerprinter = Fingerprinter::new();
        let mut grouper: Grouper<u64> = Grouper::with_capacity(30);
        for first in 'a'..='z' {
            for second in 'a'..='z' {
                let message = format!("no such user q{first}{second} in the system");
                grouper.add(fingerprinter.fingerprint(&ErrorEvent { message: &message, ..ErrorEvent::default() }), 1);
            }
        }
        let groups = grouper.groups();
        assert_eq!((groups.groups.len(), groups.rest), (1, None));
        assert_eq!(groups.groups[0].tally, 26 * 26);
        assert!(groups.groups[0].by_beginning);
    }

    #[test]
    fn a_stored_group_reads_back() {
        let groups = grouped(["a b 1", "c d"]);
        let text = serde_json::to_string(&groups.groups).expect("groups are plain data");
        assert_eq!(serde_json::from_str::<Vec<Group<u64>>>(&text).expect("it was written so"), groups.groups);
    }

    #[test]
    fn stored_rubbish_is_taken_in_without_panic() {
        let mut grouper: Grouper<u64> = Grouper::new();
        for (text, message_end) in [("é<*>..", 1), ("", 9), ("<*>", 3), ("<<*>", 4), ("..", 2), ("a<*", 3)] {
            grouper.remember(&StoredFingerprint {
                id: FingerprintId(message_end as u64),
                context: FingerprintId(1),
                text: text.into(),
                message_end,
            });
        }
        assert!(!grouper.groups().groups.is_empty());
    }

    /// Messages from few words, so that rows often differ in one place.
    fn messages() -> impl Strategy<Value = Vec<String>> {
        let word = prop::sample::select(vec![
            "user",
            "root",
            "jane",
            "bob",
            "eve",
            "ann",
            "x9",
            "failed",
            "for",
            "host",
            "=",
            "a.b",
            "timed out",
            "node7",
            "12",
        ]);
        prop::collection::vec(prop::collection::vec(word, 1..7).prop_map(|words| words.join(" ")), 1..60)
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_plays_no_part(messages in messages(), seed in 0_u64..) {
            let mut shuffled = messages.clone();
            shuffled.sort_by_key(|message| message.bytes().fold(seed, |hash, b| mix(hash ^ u64::from(b))));
            let (one, other) = (grouped(messages.iter().map(String::as_str)), grouped(shuffled.iter().map(String::as_str)));
            prop_assert_eq!(one, other);
        }

        #[test]
        fn batches_with_stored_state_give_the_same_partition(messages in messages(), split in 0_usize..60) {
            let whole = grouped(messages.iter().map(String::as_str));
            let (first, second) = messages.split_at(split.min(messages.len()));
            let stored = grouped(first.iter().map(String::as_str));
            let mut grouper: Grouper<u64> = Grouper::new();
            for fingerprint in stored.groups.iter().flat_map(|group| &group.fingerprints) {
                grouper.remember(fingerprint);
            }
            let mut fingerprinter = Fingerprinter::new();
            for message in second {
                grouper.add(fingerprinter.fingerprint(&ErrorEvent { message, ..ErrorEvent::default() }), 1);
            }
            let groups = grouper.groups();
            prop_assert_eq!(partition(&groups), partition(&whole));
            prop_assert_eq!(groups.groups.iter().map(|group| group.tally).sum::<u64>(), second.len() as u64);
        }

        #[test]
        fn more_messages_join_groups_and_never_split_one(messages in messages(), more in messages()) {
            let small = grouped(messages.iter().map(String::as_str));
            let large = partition(&grouped(messages.iter().chain(&more).map(String::as_str)));
            for group in &partition(&small) {
                prop_assert!(large.iter().any(|other| group.iter().all(|id| other.contains(id))), "split: {:?}", small);
            }
        }

        #[test]
        fn how_often_a_message_came_plays_no_part(messages in messages()) {
            let twice = grouped(messages.iter().chain(&messages).map(String::as_str));
            prop_assert_eq!(partition(&twice), partition(&grouped(messages.iter().map(String::as_str))));
        }

        #[test]
        fn the_bound_keeps_the_same_fingerprints_in_any_order(messages in messages(), seed in 0_u64.., capacity in 1_usize..20) {
            let run = |messages: &[String]| {
                let mut fingerprinter = Fingerprinter::new();
                let mut grouper: Grouper<u64> = Grouper::with_capacity(capacity);
                for message in messages {
                    grouper.add(fingerprinter.fingerprint(&ErrorEvent { message, ..ErrorEvent::default() }), 1);
                }
                grouper.groups()
            };
            let mut shuffled = messages.clone();
            shuffled.sort_by_key(|message| message.bytes().fold(seed, |hash, b| mix(hash ^ u64::from(b))));
            prop_assert_eq!(run(&messages), run(&shuffled));
        }

        #[test]
        fn any_text_is_grouped_without_panic_and_counted(messages in prop::collection::vec("\\PC{0,40}", 0..20)) {
            let groups = grouped(messages.iter().map(String::as_str));
            prop_assert_eq!(groups.groups.iter().map(|group| group.tally).sum::<u64>(), messages.len() as u64);
        }
    }
}
