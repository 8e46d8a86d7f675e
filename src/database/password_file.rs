//! The password file (`~/.pgpass`), read as libpq reads it: `host:port:database:user:password`, the first line that
//! fits wins, `*` fits all, a backslash protects `:` and `\`.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::url::{Endpoint, Place, Secret, Surroundings};

/// Largest file that is read: some ten thousand lines.
const MAX_FILE: u64 = 1024 * 1024;

/// Gives each host its password. The answer is a note for `doctor` where the file was not used.
pub(super) fn fill(
    hosts: &mut [Endpoint],
    dbname: &str,
    user: &str,
    named: Option<&Path>,
    around: &Surroundings<'_>,
) -> Option<String> {
    let path: PathBuf = match named {
        Some(path) => path.to_owned(),
        None => around.home.as_ref()?.join(".pgpass"),
    };
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(_) if named.is_none() => return None,
        Err(error) => return Some(format!("password file {} is not used: {}", path.display(), error.kind())),
    };
    if !metadata.is_file() {
        return Some(format!("password file {} is not used: it is no plain file", path.display()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Some(format!(
                "password file {} is not used: others may read it; run chmod 0600 on it",
                path.display()
            ));
        }
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Some(format!("password file {} is not used: {}", path.display(), error.kind()));
    }
    let text = String::from_utf8_lossy(&bytes);
    for host in hosts {
        host.password = find(&text, host, dbname, user);
    }
    None
}

fn find(text: &str, endpoint: &Endpoint, dbname: &str, user: &str) -> Option<Secret> {
    let host = match &endpoint.place {
        Place::Tcp { host, .. } => host.clone(),
        // In libpq the default directory goes by the name localhost, any other by its path.
        Place::Socket(directory) => match directory.to_str() {
            Some("/var/run/postgresql" | "/run/postgresql" | "/tmp") => "localhost".to_owned(),
            _ => directory.to_string_lossy().into_owned(),
        },
    };
    let port = endpoint.port.to_string();
    text.lines()
        .map(|line| line.trim_start_matches('\u{feff}').trim_end_matches('\r'))
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| match_line(line, [&host, &port, dbname, user]))
}

fn match_line(line: &str, wanted: [&str; 4]) -> Option<Secret> {
    let mut rest = line;
    for value in wanted {
        let (field, escaped, after) = field(rest)?;
        if (escaped || field != "*") && field != value {
            return None;
        }
        rest = after;
    }
    // The password ends with the line or with the next unprotected colon.
    let password = match field(rest) {
        Some((password, _, _)) => password,
        None => unescape(rest),
    };
    (!password.is_empty()).then(|| Secret::new(password))
}

/// One field up to a colon: its text, whether it had an escape, and what follows. `None` where there is no colon.
fn field(text: &str) -> Option<(String, bool, &str)> {
    let mut escaped = false;
    let mut protected = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if protected => protected = false,
            '\\' => {
                protected = true;
                escaped = true;
            }
            ':' => return Some((unescape(text.get(..at)?), escaped, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}
