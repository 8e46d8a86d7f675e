//! The text of a connection string: a URL or libpq's `key=value` form, turned into values by known parameter.

use super::url::{Given, Splitter, UrlError, UrlSource};

/// What healer does with a known parameter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    /// It has its effect.
    Honoured,
    /// The same as another one.
    Alias(&'static str),
    /// It says that a pooler is in front; healer works behind one anyway, so that is all it says.
    Pooler,
    /// It is for another program; the reason completes "has no effect: …".
    Ignored(&'static str),
    /// It would change what is secure or meant, and cannot be honoured, except with these values.
    Refused {
        /// Values that ask for nothing.
        unless: &'static [&'static str],
        /// Why the others are refused.
        reason: &'static str,
    },
}

/// A known parameter.
pub(super) struct Key {
    /// Its name; names that differ in case only are the same.
    pub(super) name: &'static str,
    /// The variable of libpq that gives it when the string does not.
    pub(super) variable: Option<&'static str>,
    /// What is done with it.
    pub(super) use_: Use,
}

const fn honoured(name: &'static str, variable: &'static str) -> Key {
    Key { name, variable: Some(variable), use_: Use::Honoured }
}

const fn plain(name: &'static str, use_: Use) -> Key {
    Key { name, variable: None, use_ }
}

const ONE_CONNECTION: Use = Use::Ignored("healer uses one connection");
const OWN_TIMEOUTS: Use = Use::Ignored("healer sets its own time-outs for each statement");
const GSS: &str = "healer speaks no GSSAPI";
const OAUTH: Use = Use::Ignored("healer speaks no OAuth");
const SCRAM: Use =
    Use::Refused { unless: &[], reason: "the driver proves itself by a password, not by keys made of one" };
const CRL: &str = "healer cannot check revocation lists";

/// Every parameter of libpq, and those that URLs of Prisma, node, JDBC, Go, Python and hosters carry.
pub(super) const KEYS: &[Key] = &[
    honoured("host", "PGHOST"),
    honoured("hostaddr", "PGHOSTADDR"),
    honoured("port", "PGPORT"),
    honoured("user", "PGUSER"),
    honoured("password", "PGPASSWORD"),
    honoured("dbname", "PGDATABASE"),
    honoured("passfile", "PGPASSFILE"),
    honoured("service", "PGSERVICE"),
    // Its variable is read where the file is looked for: a path need not be text.
    plain("servicefile", Use::Honoured),
    honoured("sslmode", "PGSSLMODE"),
    honoured("sslrootcert", "PGSSLROOTCERT"),
    honoured("sslcert", "PGSSLCERT"),
    honoured("sslkey", "PGSSLKEY"),
    honoured("sslsni", "PGSSLSNI"),
    honoured("sslnegotiation", "PGSSLNEGOTIATION"),
    honoured("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    honoured("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    honoured("channel_binding", "PGCHANNELBINDING"),
    honoured("connect_timeout", "PGCONNECT_TIMEOUT"),
    honoured("application_name", "PGAPPNAME"),
    honoured("options", "PGOPTIONS"),
    honoured("target_session_attrs", "PGTARGETSESSIONATTRS"),
    honoured("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    plain("fallback_application_name", Use::Honoured),
    plain("keepalives", Use::Honoured),
    plain("keepalives_idle", Use::Honoured),
    plain("keepalives_interval", Use::Honoured),
    plain("keepalives_count", Use::Honoured),
    plain("keepalives_retries", Use::Alias("keepalives_count")),
    plain("tcp_user_timeout", Use::Honoured),
    plain("ssl", Use::Honoured),
    plain("sslaccept", Use::Honoured),
    plain("schema", Use::Honoured),
    plain("search_path", Use::Alias("schema")),
    plain("currentschema", Use::Alias("schema")),
    plain("username", Use::Alias("user")),
    plain("database", Use::Alias("dbname")),
    plain("applicationname", Use::Alias("application_name")),
    plain("pgbouncer", Use::Pooler),
    plain("supa", Use::Pooler),
    plain("workaround", Use::Pooler),
    plain("pool_mode", Use::Pooler),
    plain("prepared_statements", Use::Pooler),
    plain("statement_cache_size", Use::Pooler),
    plain("statement_cache_capacity", Use::Pooler),
    plain("preparethreshold", Use::Pooler),
    plain("prepared_statement_cache_size", Use::Pooler),
    plain("default_query_exec_mode", Use::Pooler),
    plain("connection_limit", ONE_CONNECTION),
    plain("pool_timeout", ONE_CONNECTION),
    plain("pool_size", ONE_CONNECTION),
    plain("max_pool_size", ONE_CONNECTION),
    plain("pool_max_conns", ONE_CONNECTION),
    plain("max_connections", ONE_CONNECTION),
    plain("pool", ONE_CONNECTION),
    plain("max_idle_connection_lifetime", ONE_CONNECTION),
    plain("socket_timeout", OWN_TIMEOUTS),
    plain("sockettimeout", OWN_TIMEOUTS),
    plain("statement_timeout", OWN_TIMEOUTS),
    plain("lock_timeout", OWN_TIMEOUTS),
    plain("query_timeout", OWN_TIMEOUTS),
    plain("command_timeout", OWN_TIMEOUTS),
    plain("idle_in_transaction_session_timeout", OWN_TIMEOUTS),
    plain("client_encoding", Use::Ignored("healer always speaks UTF-8")),
    plain("timezone", Use::Ignored("healer always works in UTC")),
    plain("uselibpqcompat", Use::Ignored("sslmode always means what libpq means")),
    plain("sslcompression", Use::Ignored("compression of TLS is gone everywhere")),
    // Ignored it would weaken what was asked for.
    honoured("requiressl", "PGREQUIRESSL"),
    plain("sslkeylogfile", Use::Ignored("healer writes the keys of a session nowhere")),
    plain("rewritebatchedinserts", Use::Ignored("it is for JDBC")),
    plain("endpoint", Use::Ignored("the host's name says it in the TLS handshake")),
    Key {
        name: "gssencmode",
        variable: Some("PGGSSENCMODE"),
        use_: Use::Refused { unless: &["disable", "prefer"], reason: GSS },
    },
    Key { name: "krbsrvname", variable: None, use_: Use::Ignored(GSS) },
    Key {
        name: "min_protocol_version",
        variable: Some("PGMINPROTOCOLVERSION"),
        use_: Use::Refused { unless: &["3.0"], reason: "the driver speaks version 3.0 of the protocol" },
    },
    plain("max_protocol_version", Use::Ignored("the driver speaks version 3.0 of the protocol")),
    plain("scram_client_key", SCRAM),
    plain("scram_server_key", SCRAM),
    plain("oauth_issuer", OAUTH),
    plain("oauth_client_id", OAUTH),
    plain("oauth_client_secret", OAUTH),
    plain("oauth_scope", OAUTH),
    Key { name: "gsslib", variable: None, use_: Use::Ignored(GSS) },
    Key { name: "gssdelegation", variable: None, use_: Use::Ignored(GSS) },
    Key { name: "sslcrl", variable: Some("PGSSLCRL"), use_: Use::Refused { unless: &[], reason: CRL } },
    Key { name: "sslcrldir", variable: Some("PGSSLCRLDIR"), use_: Use::Refused { unless: &[], reason: CRL } },
    Key {
        name: "sslpassword",
        variable: None,
        use_: Use::Refused { unless: &[], reason: "the key of the client certificate must be unencrypted" },
    },
    Key {
        name: "sslcertmode",
        variable: Some("PGSSLCERTMODE"),
        use_: Use::Refused { unless: &["allow"], reason: "give or leave out sslcert instead" },
    },
    Key {
        name: "requirepeer",
        variable: Some("PGREQUIREPEER"),
        use_: Use::Refused { unless: &[], reason: "the driver cannot ask who owns a socket" },
    },
    Key {
        name: "require_auth",
        variable: Some("PGREQUIREAUTH"),
        use_: Use::Refused {
            unless: &[],
            reason: "the driver cannot restrict how it proves itself; channel_binding=require is supported",
        },
    },
    Key {
        name: "replication",
        variable: None,
        use_: Use::Refused { unless: &["false", "off", "no", "0"], reason: "healer needs an ordinary session" },
    },
];

/// From here on a misspelt name is close enough to a known one to be repeated: one wrong letter in four.
const SIMILAR: f64 = 0.75;

/// Reads either form.
pub(super) fn read(text: &str, source: &UrlSource) -> Result<Given, UrlError> {
    let text = unwrap_text(text, source)?;
    let lower = text.get(..13).unwrap_or(text).to_ascii_lowercase();
    for scheme in ["postgres://", "postgresql://"] {
        if lower.starts_with(scheme) {
            return read_url(text.get(scheme.len()..).unwrap_or_default(), source);
        }
    }
    if let Some(error) = other_kind(text, source) {
        return Err(error);
    }
    read_pairs(text, source)
}

/// Takes away what editors, shells and secret stores wrap around a string.
fn unwrap_text<'a>(text: &'a str, source: &UrlSource) -> Result<&'a str, UrlError> {
    let blank = |c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0';
    let mut text = text.trim_matches(blank);
    for (open, close) in [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’')] {
        if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
            text = inner.trim_matches(blank);
            break;
        }
    }
    let is_quote = |c: char| "\"'`“”‘’".contains(c);
    // In the other forms a quote may end the text: password='…'.
    let url = text.starts_with("postgres");
    if text.starts_with(is_quote) || (url && text.ends_with(is_quote)) {
        return Err(UrlError::NotPostgres {
            origin: source.clone(),
            what: "has a quote on one side only",
            advice: "give the string without quotes, or with the same quote on both sides; as part of a password \
                     percent-encode it (\" is %22, ' is %27)",
        });
    }
    Ok(text)
}

/// Explains what starts like something else.
fn other_kind(text: &str, source: &UrlSource) -> Option<UrlError> {
    const FORM: &str = "the form is postgres://user:password@host:5432/database";
    let kind = |what, advice| Some(UrlError::NotPostgres { origin: source.clone(), what, advice });
    let start: String = text.chars().take(24).collect::<String>().to_ascii_lowercase();
    if start.is_empty() {
        return kind("is empty", FORM);
    }
    if start.starts_with("export ")
        || start.starts_with("set ")
        || start.starts_with("database_url")
        || start.starts_with("url=")
    {
        return kind("starts with an assignment", "give only what stands after the `=`");
    }
    if start.starts_with("psql ") {
        return kind("starts with the command psql", "give only the string that follows psql");
    }
    if start.starts_with("jdbc:") {
        return kind(
            "is a URL for JDBC",
            "leave out `jdbc:` and put user and password before the host: postgres://user:password@host:5432/database",
        );
    }
    if start.starts_with("postgresql+") || start.starts_with("postgres+") {
        return kind("names a driver after the `+`", "leave out the `+` and the driver's name: postgresql://…");
    }
    for other in ["mysql:", "sqlite:", "mongodb", "redis", "file:", "prisma", "http", "sqlserver:"] {
        if start.starts_with(other) {
            return kind("is a URL, but not for Postgres", FORM);
        }
    }
    let before = text.split('=').next().unwrap_or_default().trim();
    let is_pair =
        text.contains('=') && !before.is_empty() && before.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_pair {
        return kind("does not start with postgres:// or postgresql://", FORM);
    }
    None
}

/// Everything after `postgres://`.
fn read_url(rest: &str, source: &UrlSource) -> Result<Given, UrlError> {
    let split = |splitter| UrlError::Split { origin: source.clone(), splitter };
    let bad = |part, problem| UrlError::Bad { origin: source.to_string(), part, problem };
    // The first place where the URL could end its authority, and all `@`: with one reading only there is one `@`, in
    // front of that place. libpq, the WHATWG and the driver cut such URLs in different places; so nobody's is right.
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    if tail.contains('@') {
        return Err(split(match tail.chars().next() {
            Some('/') => Splitter::Slash,
            Some('?') => Splitter::Question,
            _ => Splitter::Hash,
        }));
    }
    if authority.matches('@').count() > 1 {
        return Err(split(Splitter::At));
    }
    if rest.contains('#') {
        return Err(split(Splitter::Hash));
    }
    if let Some(odd) = rest.chars().find(|c| c.is_control() || c.is_whitespace()) {
        if odd == ' ' {
            return Err(split(Splitter::Space));
        }
        return Err(bad("address", "holds a line break or another control character in the middle"));
    }
    let decode = |text: &str, part| decode(text, part, source);
    let mut given = Given::default();
    let (userinfo, hosts) = authority.split_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    if let Some(userinfo) = userinfo {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let user = decode(user, "user name")?;
        // The whole of `user:password` was encoded: the user's name is printed, so this must not pass.
        if user.contains(':') {
            return Err(split(Splitter::Colon));
        }
        if !user.is_empty() {
            given.put("user", user, None);
        }
        let password = decode(password, "password")?;
        let placeholders =
            ["[YOUR-PASSWORD]", "[YOUR_PASSWORD]", "<password>", "<PASSWORD>", "[PASSWORD]", "YOUR_PASSWORD"];
        if placeholders.contains(&password.as_str()) {
            return Err(UrlError::Placeholder { origin: source.clone() });
        }
        if !password.is_empty() {
            given.put("password", password, None);
        }
    }
    read_hosts(hosts, &mut given, source)?;

    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.contains('/') {
        return Err(bad("database name", "holds an unencoded `/`"));
    }
    if !path.is_empty() {
        given.put("dbname", decode(path, "database name")?, None);
    }
    for (index, pair) in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).enumerate() {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(bad("parameters after the `?`", "one has no `=`"));
        };
        let name = decode(name, "parameters after the `?`")?;
        let value = decode(value, "parameters after the `?`")?;
        take(&mut given, &name, value, index + 1, source, true)?;
    }
    Ok(given)
}

/// `host:port,[v6]:port,…`; an empty list leaves the host open.
fn read_hosts(text: &str, given: &mut Given, source: &UrlSource) -> Result<(), UrlError> {
    let bad = |part, problem| UrlError::Bad { origin: source.to_string(), part, problem };
    if text.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for item in text.split(',') {
        let (host, port) = if let Some(rest) = item.strip_prefix('[') {
            let Some((address, after)) = rest.split_once(']') else {
                return Err(bad("host", "has `[` without `]`"));
            };
            let port = match after.strip_prefix(':') {
                Some(port) => port,
                None if after.is_empty() => "",
                None => return Err(bad("host", "has something other than a port after `]`")),
            };
            (address, port)
        } else {
            item.split_once(':').unwrap_or((item, ""))
        };
        if port.contains(':') {
            return Err(bad("host", "has more than one `:` (an IPv6 address stands in brackets)"));
        }
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad("port", "is not a number"));
        }
        hosts.push(decode(host, "host", source)?);
        ports.push(port);
    }
    given.put("host", hosts.join(","), None);
    if ports.iter().any(|port| !port.is_empty()) {
        given.put("port", ports.join(","), None);
    }
    Ok(())
}

/// libpq's `key=value` form with its quotes and backslashes.
fn read_pairs(text: &str, source: &UrlSource) -> Result<Given, UrlError> {
    let bad = |problem| UrlError::Bad { origin: source.to_string(), part: "key=value form", problem };
    let mut given = Given::default();
    let mut rest = text.trim_start();
    let mut position = 0;
    while !rest.is_empty() {
        position += 1;
        let Some((name, after)) = rest.split_once('=') else {
            return Err(bad("a word has no `=` (quote a value with spaces: password='…')"));
        };
        let name = name.trim_end();
        if name.contains(char::is_whitespace) {
            return Err(bad("a word has no `=` (quote a value with spaces: password='…')"));
        }
        let after = after.trim_start();
        let quoted = after.starts_with('\'');
        let mut value = String::new();
        let mut end = None;
        let mut chars = after.char_indices().skip(usize::from(quoted));
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, escaped)) => value.push(escaped),
                    None => return Err(bad("ends with a backslash")),
                },
                '\'' if quoted => {
                    end = Some(at + 1);
                    break;
                }
                c if !quoted && c.is_whitespace() => {
                    end = Some(at);
                    break;
                }
                c => value.push(c),
            }
        }
        if quoted && end.is_none() {
            return Err(bad("a quote is not closed"));
        }
        take(&mut given, name, value, position, source, false)?;
        let next = after.get(end.unwrap_or(after.len())..).unwrap_or_default();
        if quoted && !next.is_empty() && !next.starts_with(char::is_whitespace) {
            return Err(bad("something follows a closing quote (write a quote inside a value as \\')"));
        }
        rest = next.trim_start();
    }
    Ok(given)
}

/// Files one parameter. `overrides`: host and port of a URL's query stand above those of its authority.
pub(super) fn take(
    given: &mut Given,
    name: &str,
    value: String,
    position: usize,
    source: &UrlSource,
    overrides: bool,
) -> Result<(), UrlError> {
    let origin = || source.to_string();
    let lower = name.to_ascii_lowercase();
    let Some(key) = KEYS.iter().find(|key| key.name == lower) else {
        return Err(unknown(name, position, origin()));
    };
    let key = match key.use_ {
        Use::Alias(target) => KEYS.iter().find(|key| key.name == target).unwrap_or(key),
        _ => key,
    };
    match key.use_ {
        Use::Honoured | Use::Alias(_) => {
            if overrides && matches!(key.name, "host" | "port") {
                given.replace(key.name, value);
            } else if !given.put(key.name, value, None) {
                return Err(UrlError::Bad { origin: origin(), part: key.name, problem: "is given twice" });
            }
        }
        Use::Pooler => given.pooler = given.pooler || !matches!(value.as_str(), "false" | "session"),
        Use::Ignored(reason) => given.notes.push(format!("parameter `{}` has no effect: {reason}", key.name)),
        Use::Refused { unless, .. } if unless.contains(&value.as_str()) => {}
        Use::Refused { reason, .. } => return Err(UrlError::Unsupported { origin: origin(), key: key.name, reason }),
    }
    Ok(())
}

/// The error for a name that is not in the list. The name itself is shown only where it cannot be a piece of a
/// password: a plain word that nearly is a known parameter.
pub(super) fn unknown(name: &str, position: usize, origin: String) -> UrlError {
    let plain = (2..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let nearest = KEYS
        .iter()
        .filter(|key| !matches!(key.use_, Use::Ignored(_)))
        .map(|key| (strsim::normalized_damerau_levenshtein(name, key.name), key.name))
        .filter(|(similarity, _)| plain && *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    UrlError::UnknownParameter {
        origin,
        position,
        name: nearest.map(|_| name.to_owned()),
        nearest: nearest.map(|(_, known)| known),
    }
}

/// Strict percent-decoding: a stray `%` is a password that was not encoded, and decoding it anyhow changes it.
fn decode(text: &str, part: &'static str, source: &UrlSource) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(UrlError::Split { origin: source.clone(), splitter: Splitter::Percent });
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    let bad = |problem| UrlError::Bad { origin: source.to_string(), part, problem };
    if bytes.contains(&0) {
        return Err(bad("holds a zero byte"));
    }
    String::from_utf8(bytes).map_err(|_| bad("is not UTF-8 after percent-decoding"))
}
