//! What the help, the man page and the handbook say beside the options: exit codes, environment, files, examples. One
//! source for all of them.

/// What an entry is about, and what it says.
pub type Entry = (&'static str, &'static str);

/// Exit codes, as the design has them. Where several apply, the order is 130/143, 78, 77, 75, 1, 3, 4.
pub const EXIT_CODES: &[Entry] = &[
    ("0", "completed: nothing to do, all done, a dry run, or another run was already at work"),
    ("1", "unexpected failure"),
    ("2", "the command line is wrong"),
    (
        "3",
        "completed in part: an action failed, a post was newly held, the brake stopped a check, a check could not be \
         measured, or --timeout came first",
    ),
    ("4", "something is at or above --fail-on, or --max-age is exceeded"),
    ("75", "temporary: the database is unreachable, starting, full or read-only; the next run tries again"),
    ("77", "no permission, or row-level security hides rows"),
    ("78", "configuration: no URL, bad URL, missing table or column, no schema healer, TLS"),
    ("130, 143", "interrupted, after the running batch was finished or rolled back"),
];

/// Variables that are read. Values of PG* fill what the URL leaves open, as libpq does.
pub const ENVIRONMENT: &[Entry] = &[
    ("DATABASE_URL", "the database: postgresql://user:password@host:port/database?sslmode=verify-full"),
    ("DATABASE_URL_FILE", "file with that URL in it (mode 0600); before DATABASE_URL"),
    ("DATABASE_DIRECT_URL", "the same database without the pooler, for what a pooler cannot do"),
    ("PGHOST, PGUSER, PGPASSWORD, PGSSLMODE, PGSSLROOTCERT, …", "what the URL leaves open, as libpq reads it"),
    ("PGSERVICE, PGSERVICEFILE", "section of pg_service.conf"),
    ("PGPASSFILE", "password file (default ~/.pgpass, mode 0600)"),
    ("NO_COLOR", "no colours in tables"),
];

/// Files that are read.
pub const FILES: &[Entry] = &[
    ("./healer.toml, /etc/healer/healer.toml", "settings: the first that exists; --config F names another"),
    ("~/.pgpass, ~/.pg_service.conf, ~/.postgresql/root.crt", "as libpq reads them"),
];

/// How it is begun, in the order in which one does.
pub const EXAMPLES: &[Entry] = &[
    #[cfg(feature = "sandbox")]
    ("healer --sandbox heal --dry-run", "what it does, on a throwaway database"),
    ("healer doctor", "whether it can work here, and if not why"),
    ("healer heal --dry-run", "what it would do; writes nothing"),
    ("healer init", "creates its own schema, once"),
    ("healer heal --quiet --fail-on critical", "one pass, as cron runs it"),
    ("healer report health", "what is stuck and held now, and what the last runs did"),
    ("healer resolve POST --posted ID", "a person's decision on a held post"),
    ("healer undo RUN --dry-run", "what taking a run back would do"),
];

/// What the long help ends with.
pub fn after_help() -> String {
    let mut text = String::new();
    for (title, entries) in
        [("Examples", EXAMPLES), ("Exit codes", EXIT_CODES), ("Environment", ENVIRONMENT), ("Files", FILES)]
    {
        text.push_str(title);
        text.push_str(":\n");
        let width = entries.iter().map(|(name, _)| name.chars().count()).filter(|width| *width <= COLUMN).max();
        let width = width.unwrap_or(COLUMN);
        for (name, says) in entries {
            // A long name has a line of its own, and what it says stands below.
            let gap = if name.chars().count() > COLUMN { format!("\n  {:width$}  ", "") } else { "  ".into() };
            text.push_str(&format!("  {name:width$}{gap}{says}\n"));
        }
        text.push('\n');
    }
    text.push_str(
        "Every setting, every check and what to do when: the handbook (docs/ of the source, /usr/share/doc/healer).",
    );
    text
}

/// Longest name that stands in one line with what it says.
const COLUMN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_can_win_is_explained() {
        let explained: Vec<u8> = EXIT_CODES
            .iter()
            .flat_map(|(codes, _)| codes.split(", ").map(|code| code.parse().expect("a code")))
            .collect();
        for code in explained.iter().filter(|code| **code != 0) {
            assert_eq!(crate::exit::strongest([*code]), *code);
        }
        for code in [1, 2, 3, 4, 75, 77, 78, 130, 143] {
            assert!(explained.contains(&code), "{code}");
        }
    }

    #[test]
    fn no_line_of_the_help_is_wider_than_two_terminals() {
        let text = after_help();
        assert!(text.lines().all(|line| line.chars().count() < 200), "{text}");
        assert!(text.contains("  75  ") || text.contains("  75        "), "{text}");
    }
}
