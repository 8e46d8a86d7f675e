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
    ("SSL_CERT_FILE, SSL_CERT_DIR", "authorities of sslrootcert=system and of alerts, instead of the system's"),
    ("STATE_DIRECTORY, XDG_STATE_HOME", "where alerts are remembered while the database cannot be reached"),
    #[cfg(feature = "sandbox")]
    ("HEALER_PG_BIN", "folder of initdb and postgres, for --sandbox"),
    ("NO_COLOR", "no colours in tables"),
];

/// What the words of the output mean.
pub const WORDS: &[Entry] = &[
    ("post", "a row of the posts table: content_metadata, or what the settings name"),
    (
        "pass, run",
        "one execution of heal, optimize or analyze-errors; a run is a pass that was recorded, and has a number",
    ),
    ("ledger", "a table or event that proves that a post was sent: post_receipts, post_attempts, …"),
    ("held", "left for a person: nothing happens to the post until `healer resolve` decides"),
    ("brake", "the limit on how many posts a run, and a day, may queue again; `--max-actions N` lets N past it"),
    ("unknown", "what could not be measured: never called well, never counted as 0"),
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
    ("healer undo 12 --dry-run", "what taking run 12 back would do"),
];

/// A command: its name, what it does in full, and how it is used.
type OfCommand = (&'static str, &'static str, &'static [Entry]);

/// What the help of each command says beside its options.
const COMMANDS: &[OfCommand] = &[
    (
        "heal",
        "Finds stuck posts, posted ones without an id, and old failures, and repairs them. It looks at the browser queue, \
         the database, the circuit breaker, the heartbeats of jobs and the silence too, and only reports those.\n\n\
         It acts unless --dry-run is given. A post is queued again only where no ledger that can be read shows it as sent; \
         what cannot be decided is held for a person (`healer resolve`). All that it changes is written down and can be \
         taken back (`healer undo`).",
        &[
            ("healer heal --dry-run", "what it would do; writes nothing"),
            ("healer heal", "one pass"),
            ("healer heal --quiet --fail-on critical", "as cron runs it, every 15 minutes"),
            ("healer heal --only stuck-posts", "one check only"),
            ("healer heal --max-actions 40", "the brake held, you looked, and 40 posts may be queued again"),
        ],
    ),
    (
        "optimize",
        "`performance`: which jobs are slow or failing, how posting does, what will fail, be late or be full, which indexes \
         are missing. It runs ANALYZE, and moves the limits that healer learns by a step a day; the rest is advice.\n\n\
         `content`: which generators, formats and hours earn more, and small steps of the weights towards them, only with \
         enough posts and measured outcomes.\n\n\
         Without a word both run, one after the other. It acts unless --dry-run is given; `healer undo` takes it back.",
        &[
            ("healer optimize --dry-run", "what both would do; writes nothing"),
            ("healer optimize performance --sql-out mend.sql", "the missing indexes as a migration"),
            ("healer optimize content --quiet", "as cron runs it, every 4 hours"),
        ],
    ),
    (
        "analyze-errors",
        "Groups the errors of the system's events into patterns, names their likely causes and what recovered, and says \
         what is new, growing or bursting. It changes nothing of the system; it stores its patterns and one event, unless \
         --dry-run is given.",
        &[
            ("healer analyze-errors --dry-run", "what goes wrong now; stores nothing"),
            ("healer analyze-errors --since 7d", "the whole week"),
        ],
    ),
    (
        "report",
        "What is wrong now, in one line; then open alerts, trends, each part as its pass stored it, what the last runs \
         did, and the command that takes each back. It reads only.",
        &[
            ("healer report", "everything"),
            ("healer report health", "stuck and held posts, and the last runs"),
            ("healer report --format html --output healer.html", "one page with charts for a browser"),
            ("healer report --format prometheus --output healer.prom", "figures for node_exporter"),
            ("healer report health --max-age 30m --nagios", "as a Nagios plugin; notices too that heal has stopped"),
            ("healer report --test-alert team", "a sample over the alert channel `team`"),
        ],
    ),
    (
        "init",
        "Creates or upgrades the schema `healer`, in which runs, the journal and alerts are kept. It touches nothing else, \
         needs a role that may create a schema, and is safe to repeat; without it nothing but --dry-run, doctor and report \
         works.",
        &[
            ("healer init --print-sql", "all of its SQL, for those who must review it"),
            ("healer init", "once, and after each upgrade"),
            ("healer init --track-jobs", "and a trigger that notes every run of the system's jobs"),
        ],
    ),
    (
        "doctor",
        "Whether healer can work here, and if not why: the connection and TLS, tables and columns, permissions and \
         row-level security, which ledgers can be read and how far their silence can be trusted, missing indexes, other \
         healers at work, which settings are in use. With each finding stands the GRANT, index or setting that mends it. \
         It only reads.",
        &[
            ("healer doctor", "the first thing to run, and the first when something is odd"),
            ("healer doctor --fail-on warning", "as a check after each deployment"),
        ],
    ),
    (
        "resolve",
        "A person's decision on a post that healer holds: look at the site whether it is there, then say so. Exactly one \
         of --posted, --queue and --fail. `healer undo` takes the decision back.",
        &[
            ("healer report health", "lists the held posts, and why each is held"),
            ("healer resolve POST --posted 1234567890", "it is on the site, with this id"),
            ("healer resolve POST --queue", "it is not there and shall be sent"),
            ("healer resolve POST --fail", "it is not there and shall not be sent any more"),
        ],
    ),
    (
        "undo",
        "Brings back the values that a run changed, where they still are what healer wrote: what somebody has changed \
         since stays. Posts that are brought back are held, so that the next pass does not do the same again.",
        &[
            ("healer undo 12 --dry-run", "what taking run 12 back would do"),
            ("healer undo 12", "takes it back"),
            ("healer undo 12 --only stuck-posts", "only what this check did"),
        ],
    ),
    (
        "completions",
        "Prints the script that completes healer's commands and options in a shell. The Debian package has installed those \
         of bash, zsh and fish.",
        &[
            ("healer completions bash > ~/.local/share/bash-completion/completions/healer", "for bash"),
            ("healer completions fish > ~/.config/fish/completions/healer.fish", "for fish"),
        ],
    ),
];

fn of_command(name: &str) -> Option<&'static OfCommand> {
    COMMANDS.iter().find(|(known, ..)| *known == name)
}

/// What a command does, in full.
pub fn about(command: &str) -> &'static str {
    of_command(command).map_or("", |(_, about, _)| about)
}

/// How a command is used.
pub fn examples(command: &str) -> &'static [Entry] {
    of_command(command).map_or(&[], |(.., examples)| examples)
}

/// What the long help of a command ends with.
pub fn after_command(command: &str) -> String {
    let mut text = String::new();
    section(&mut text, "Examples", examples(command));
    text.push_str("Exit codes, environment, files and words: healer --help");
    text
}

/// What the long help ends with.
pub fn after_help() -> String {
    let mut text = String::new();
    for (title, entries) in [
        ("Examples, in the order in which one begins", EXAMPLES),
        ("Words", WORDS),
        ("Exit codes", EXIT_CODES),
        ("Environment", ENVIRONMENT),
        ("Files", FILES),
    ] {
        section(&mut text, title, entries);
    }
    text.push_str(
        "What a command does in full, and more examples: healer COMMAND --help\n\
         Every setting, every check and what to do when: the handbook\n(docs/ of the source, /usr/share/doc/healer).",
    );
    text
}

/// Longest name that stands in one line with what it says.
const COLUMN: usize = 40;

/// Columns of a terminal that nobody has widened.
const TERMINAL: usize = 80;

/// A titled list in two columns.
fn section(text: &mut String, title: &str, entries: &[Entry]) {
    text.push_str(title);
    text.push_str(":\n");
    let width = entries.iter().map(|(name, _)| name.chars().count()).filter(|width| *width <= COLUMN).max();
    let width = width.unwrap_or(COLUMN);
    for (name, says) in entries {
        let lines = wrap(says, TERMINAL - width - 4);
        // A long name has a line of its own, and what it says stands below.
        let gap = if name.chars().count() > width { format!("\n  {:width$}  ", "") } else { "  ".into() };
        text.push_str(&format!("  {name:width$}{gap}{}\n", lines.join(&format!("\n  {:width$}  ", ""))));
    }
    text.push('\n');
}

/// Breaks a text between words, so that no line is longer than this; a word that is longer stands alone.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

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
    fn no_line_of_the_help_is_wider_than_a_terminal() {
        // But for one word that nothing can break.
        let long = |line: &&str| line.chars().count() > TERMINAL && line.split_whitespace().count() > 1;
        let commands = COMMANDS.iter().map(|(name, ..)| after_command(name));
        for text in commands.chain([after_help()]) {
            let wide: Vec<&str> =
                text.lines().filter(long).filter(|line| !line.trim_start().starts_with("healer ")).collect();
            assert!(wide.is_empty(), "{wide:?}");
        }
        assert!(after_help().contains("\n  75        "), "{}", after_help());
    }

    #[test]
    fn every_check_of_heal_stands_in_the_help_of_only() {
        use clap::CommandFactory as _;
        let command = crate::cli::Cli::command();
        let heal = command.find_subcommand("heal").expect("heal");
        let only = heal.get_arguments().find(|arg| arg.get_id() == "only").expect("--only");
        let help = only.get_help().expect("its words").to_string();
        let listed: Vec<&str> = help.split_once(": ").expect("a list").1.split([',', ' ', '\n']).collect();
        let listed: Vec<&str> = listed.into_iter().filter(|word| !word.is_empty()).collect();
        let known: Vec<&str> = crate::heal::CHECKS.iter().map(|check| check.name()).collect();
        assert_eq!(listed, known);
    }
}
