//! The service file (`pg_service.conf`): a named section of parameters, chosen by `service` or `PGSERVICE`.

use std::io::Read;
use std::path::PathBuf;

use super::conninfo::{self, KEYS};
use super::url::{Given, Surroundings, UrlError, UrlSource};

/// Largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// Fills what the string left open from the service, if one is named. A service that does not exist is an error.
pub(super) fn fill(given: &mut Given, around: &Surroundings<'_>) -> Result<(), UrlError> {
    let service = match given.value("service") {
        Some(service) => service.to_owned(),
        None => match around.text("PGSERVICE")? {
            Some(service) => service,
            None => return Ok(()),
        },
    };
    let mut candidates: Vec<PathBuf> = Vec::new();
    let named = given.value("servicefile").map(PathBuf::from);
    if let Some(path) = named.clone().or_else(|| around.path("PGSERVICEFILE")) {
        candidates.push(path);
    } else if let Some(home) = &around.home {
        candidates.push(home.join(".pg_service.conf"));
    }
    if let Some(directory) = around.path("PGSYSCONFDIR") {
        candidates.push(directory.join("pg_service.conf"));
    }
    candidates.push(PathBuf::from("/etc/postgresql-common/pg_service.conf"));
    let first = match (&named, candidates.first()) {
        // What the text names and is not there may be anything, and is not repeated.
        (Some(path), _) if !path.exists() => PathBuf::from("of the parameter servicefile"),
        (_, first) => first.cloned().unwrap_or_default(),
    };
    for path in candidates {
        let mut text = String::new();
        match std::fs::File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let path = if named.as_ref() == Some(&path) { first } else { path };
                return Err(UrlError::Service { path, problem: error.kind().to_string() });
            }
        }
        if section(&text, &service, given, &path)? {
            return Ok(());
        }
    }
    Err(UrlError::Service { path: first, problem: "the service that is asked for is in no service file".to_owned() })
}

/// Reads one file; whether it had the section.
fn section(text: &str, service: &str, given: &mut Given, path: &std::path::Path) -> Result<bool, UrlError> {
    let mut inside = false;
    let mut found = Given::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let problem =
            |words: &str| UrlError::Service { path: path.to_owned(), problem: format!("line {}: {words}", index + 1) };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if inside {
                break;
            }
            inside = name.strip_suffix(']').is_some_and(|name| name == service);
            continue;
        }
        if !inside {
            continue;
        }
        if line.starts_with("ldap") {
            return Err(problem("healer does not ask LDAP for services"));
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(problem("has no `=`"));
        };
        if matches!(name.trim(), "service" | "servicefile") {
            return Err(problem("a service cannot name another one"));
        }
        // The real place is the file; the error is translated so that it names file and line.
        conninfo::take(&mut found, name.trim(), value.to_owned(), index + 1, &UrlSource::PgVariables, false).map_err(
            |error| match error {
                UrlError::UnknownParameter { name: Some(name), .. } => problem(&format!("unknown parameter `{name}`")),
                UrlError::UnknownParameter { .. } => problem("unknown parameter"),
                UrlError::Unsupported { key, .. } => problem(&format!("parameter `{key}` is not supported")),
                _ => problem("a parameter is given twice"),
            },
        )?;
    }
    if inside {
        given.pooler |= found.pooler;
        given.notes.append(&mut found.notes);
        for key in KEYS {
            if let Some(value) = found.value(key.name) {
                given.put(key.name, value.to_owned(), Some(format!("service file {}", path.display())));
            }
        }
    }
    Ok(inside)
}
