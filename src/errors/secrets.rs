//! Makes an example fit to be shown: secrets and personal data are replaced by what they were.
//!
//! Masked are: the user part of URLs, passwords, tokens, keys and sessions by the name that stands before them (in
//! `key=value`, `key: value`, JSON, also JSON inside a string, query strings and command lines), `Authorization` and
//! `Bearer`, cookies, private keys, JSON web tokens, the token formats of well-known services, long random words, e-mail
//! addresses, telephone numbers, payment cards, account names in home directories.
//!
//! Its limits: it goes by form. A password in the middle of a sentence that nothing announces is not recognised; what
//! looks like a secret and is none (`token: expired`) is masked as well.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::template::cut;

/// Characters of an example.
pub const MAX_EXAMPLE: usize = 500;
/// Bytes that are looked at; more than an example may have, so that no secret loses at the edge what gives it away.
const MAX_INPUT: usize = 16 * 1024;

struct Rule {
    pattern: Regex,
    /// Replacement; `$a` is what stays before the secret.
    with: &'static str,
}

/// Words in names of fields whose values are secret; what stands before them in a name need not be matched.
const SECRET_NAME: &str = r"(?:passw(?:or)?d|passphrase|passcode|\bpass\b|\bpwd|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|service[_-]?key|anon[_-]?key|encryption[_-]?key|signing[_-]?key|credential|session|csrf|xsrf|\botp\b|\bpin\b|\bct0\b|signature|\bsig\b|authorization|auth[_-]?key|e[_-]?mail|phone|mobile|\bssn\b|\biban\b)[A-Za-z0-9_.-]*";

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let value = r#"(?:\\+"(?:[^"\\]|\\+[^"\\])*(?:\\+"|"|$)|"(?:[^"\\]|\\.)*(?:"|$)|'(?:[^'\\]|\\.)*(?:'|$)|\[[^\]]*\]?|[^\s,;&)}\]"']+)"#;
    let table: Vec<(String, &'static str)> = vec![
        (r"(?s)-----BEGIN [A-Z0-9 ]*KEY-----.*?(?:-----END [A-Z0-9 ]*-----|$)".into(), "<private key>"),
        // A password with @ or / in it splits the URL: mask up to the last @.
        (r#"(?i)(?P<a>\b[a-z][a-z0-9+.-]*://)(?:[^\s"'<>]*:[^\s"'<>]*@|[^\s/@"'<>]*@)"#.into(), "${a}***@"),
        (r"(?i)(?P<a>hooks\.slack\.com/(?:services|workflows|triggers)/)[\w/-]+".into(), "${a}***"),
        (r"(?i)(?P<a>/api/webhooks/\d+/)[\w-]+".into(), "${a}***"),
        (r"\bbot\d{5,}:[\w-]{20,}".into(), "bot***"),
        (r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?".into(), "<jwt>"),
        (r#"(?i)(?P<a>\b(?:set-)?cookie\d?["']?\s*[:=]\s*)[^\r\n]+"#.into(), "${a}***"),
        (r#"(?i)(?P<a>\b(?:proxy-)?authorization\\*["']?\s*[:=]\s*)\\*["']?(?:(?:bearer|basic|digest|token|negotiate|apikey|aws4-[\w-]+)\s+)?[^\s"']+"#.into(), "${a}***"),
        (r"(?i)(?P<a>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}".into(), "${a}***"),
        (format!(r#"(?i)(?P<a>{SECRET_NAME}\\*["']?\]?\s*(?:=>|:=|[:=])\s*){value}"#), "${a}***"),
        (format!(r"(?i)(?P<a>--?[A-Za-z0-9-]*(?:{SECRET_NAME})\s+)\S+"), "${a}***"),
        (r#"(?i)(?P<a>\b(?:passw(?:or)?d|passphrase|passcode|secret|token|api key)\s+(?:is\s+|was\s+)?)["'`][^"'`]*["'`]"#.into(), "${a}***"),
        (r"(?i)(?P<a>\b(?:passw(?:or)?d|passphrase|passcode)\s+(?:is|was)\s+)\S+".into(), "${a}***"),
        (r"\b(?:sk|pk|rk)[-_](?:live[-_]|test[-_]|proj-|ant-)?[A-Za-z0-9_-]{12,}".into(), "<key>"),
        (r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{12,}|xox[abeoprs]-[\w-]{8,}|xapp-[\w-]{8,}|sbp_\w{16,}|sb_(?:secret|publishable)_[\w-]{8,}|hf_\w{16,}|npm_\w{16,}|pypi-[\w-]{16,}|npg_\w{8,}|dop_v1_\w{16,}|SG\.[\w-]{10,}\.[\w-]{10,}|ya29\.[\w-]{10,}|AIza[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|shp(?:at|ss|ca)_\w{16,})".into(), "<key>"),
        (r"[\p{L}\p{N}._%+'-]+(?:@|%40)[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}".into(), "<email>"),
        (r"\b\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}\b".into(), "<card>"),
        (r"(?P<a>^|[^\w+])\+\d(?:[ ().-]{0,2}\d){7,14}\b".into(), "${a}<phone>"),
        (r"(?P<a>^|[^\w+.-])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}\b".into(), "${a}<phone>"),
        (r"(?P<a>/(?:home|Users)/)[^/\s:'()]+".into(), "${a}<user>"),
        (r"(?i)(?P<a>\b[a-z]:\\+users\\+)[^\\\s:]+".into(), "${a}<user>"),
    ];
    table.into_iter().filter_map(|(pattern, with)| Some(Rule { pattern: Regex::new(&pattern).ok()?, with })).collect()
});

/// Words so long and so mixed that only a machine makes them.
static RANDOM_WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[A-Za-z0-9_+=-]{32,}").ok());

/// `text` without its secrets and personal data, at any length up to 16 KiB.
pub fn mask(text: &str) -> String {
    let mut masked: Cow<'_, str> = Cow::Borrowed(cut(text, MAX_INPUT));
    for rule in RULES.iter() {
        if let Cow::Owned(changed) = rule.pattern.replace_all(&masked, rule.with) {
            masked = Cow::Owned(changed);
        }
    }
    if let Some(pattern) = RANDOM_WORD.as_ref() {
        let changed = pattern.replace_all(&masked, |found: &Captures<'_>| {
            let word = &found[0];
            let digits = word.bytes().filter(u8::is_ascii_digit).count();
            let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
            // A long identifier has words and hardly a digit; a UUID names a row and helps to find it.
            if digits >= 4 && letters >= 4 && !is_uuid(word) { "<token>".to_owned() } else { word.to_owned() }
        });
        masked = Cow::Owned(changed.into_owned());
    }
    masked.into_owned()
}

/// An example for people: masked, without control characters and colour codes, at most [`MAX_EXAMPLE`] characters.
pub fn example(text: &str) -> String {
    let masked = mask(text);
    let mut out = String::with_capacity(masked.len().min(MAX_EXAMPLE * 4));
    let mut characters = masked.chars().peekable();
    let mut count = 0;
    while let Some(c) = characters.next() {
        if count == MAX_EXAMPLE {
            out.push('…');
            break;
        }
        if c == '\u{1b}' && characters.peek() == Some(&'[') {
            // A colour code ends with a letter.
            for code in characters.by_ref() {
                if code.is_ascii_alphabetic() {
                    break;
                }
            }
            continue;
        }
        out.push(match c {
            '\n' => '\n',
            // Marks that turn the direction of writing can make a text say something else.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') => ' ',
            c => c,
        });
        count += 1;
    }
    out.trim().to_owned()
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compiles() {
        assert_eq!(RULES.len(), 21);
        assert!(RANDOM_WORD.is_some());
    }

    #[test]
    fn secrets_do_not_survive() {
        for (text, secrets) in [
            ("postgres://bot:hunter2@db.host:5432/x", &["hunter2", "bot:"][..]),
            ("postgresql://bot:p@ss/w#rd@db.host/x refused", &["p@ss", "w#rd", "ss/w"]),
            ("login with password=hunter2, then", &["hunter2"]),
            ("password: 'correct horse battery'", &["correct", "horse", "battery"]),
            (r#"{"user":"a","password":"cor\"rect","x":1}"#, &["cor", "rect"]),
            (r#"{"body":"{\"api_key\":\"zzz yyy\"}"}"#, &["zzz", "yyy"]),
            ("the password is swordfish", &["swordfish"]),
            ("psql --password swordfish -h x", &["swordfish"]),
            ("Authorization: Bearer abc.def.ghi", &["abc", "def", "ghi"]),
            ("authorization: Basic dXNlcjpwYXNz", &["dXNlcjpwYXNz"]),
            ("sent bearer 0123456789abcdef", &["0123456789abcdef"]),
            ("Cookie: auth_token=1f2e; ct0=aa\nnext line", &["1f2e", "ct0=aa"]),
            ("set-cookie: sid=s%3Aabc; Path=/", &["s%3Aabc"]),
            ("GET /x?access_token=abc123&y=1", &["abc123"]),
            ("GET /x?q=1&api-key=abc123", &["abc123"]),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl bad", &["eyJhbGci", "c2lnbmF0"]),
            ("key sk-proj-abcdefghijklmnop1234 rejected", &["abcdefghijklmnop"]),
            ("AKIAIOSFODNN7EXAMPLE", &["IOSFODNN7"]),
            ("ghp_abcdefghijklmnopqrst123456", &["abcdefghij"]),
            ("https://hooks.slack.com/services/T0/B0/xyz", &["T0/B0", "xyz"]),
            ("https://discord.com/api/webhooks/123/abc-def", &["abc-def"]),
            ("mail to jane.doe+x@mail.example.co.uk failed", &["jane", "doe"]),
            ("mail to jane%40example.org failed", &["jane"]),
            ("call +49 170 1234567 or (555) 123-4567", &["1234567", "123-4567"]),
            ("card 4111 1111 1111 1111 declined", &["4111"]),
            ("auth 0123456789abcdef0123456789abcdef01234567", &["0123456789abcdef"]),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----", &["MIIE", "abc"]),
            ("-----BEGIN PRIVATE KEY-----\nMIIE cut", &["MIIE"]),
            ("/home/jane/app/x.js and C:\\Users\\jane\\x", &["jane"]),
            ("SUPABASE_SERVICE_ROLE_KEY: x, TWITTER_CLIENT_SECRET=qwe", &["qwe"]),
        ] {
            let shown = example(text);
            for secret in secrets {
                assert!(!shown.contains(secret), "{secret:?} is left in {shown:?}");
            }
        }
    }

    #[test]
    fn what_helps_to_understand_stays() {
        for text in [
            "Post 1734567890123456789 failed after 3 attempts at 2026-11-25 10:20:30+00:00",
            "decision 550e8400-e29b-41d4-a716-446655440000 not found",
            "duplicate key value violates unique constraint \"content_metadata_pkey\"",
            "connect ECONNREFUSED 10.0.0.1:5432",
            "HTTP 429 Too Many Requests https://api.x.com/2/tweets?limit=10",
            "at Poster.post (/app/src/poster.ts:12:34)",
            "操作超时 30000 毫秒",
        ] {
            assert_eq!(example(text), text);
        }
    }

    #[test]
    fn an_example_is_short_and_plain() {
        let long = example(&"ä".repeat(5_000));
        assert_eq!(long.chars().count(), MAX_EXAMPLE + 1);
        assert_eq!(example("a\0b\u{1b}[31mred\u{1b}[0m\u{202e}x"), "a bred x");
    }

    #[test]
    fn a_secret_at_the_edge_of_the_example_is_masked_before_the_cut() {
        let text = format!("{} postgres://bot:hunter2@host/x", "a ".repeat(235));
        assert!(!example(&text).contains("hunter"), "{}", example(&text));
    }

    proptest::proptest! {
        // Twenty patterns over each text are slow without optimisation.
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

        #[test]
        fn any_text_is_masked_without_panic(text in "\\PC*") {
            let shown = example(&text);
            proptest::prop_assert!(shown.chars().count() <= MAX_EXAMPLE + 1);
        }

        #[test]
        fn a_password_in_a_url_never_survives(password in "[a-zA-Z0-9@/#!%]{6,20}") {
            let shown = mask(&format!("could not connect to postgres://u:{password}@h/db"));
            proptest::prop_assert!(!shown.contains(&password), "{}", shown);
        }
    }
}
