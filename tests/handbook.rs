//! What the README and `docs/` say, tried: every `sh` and `sql` block is run, or stands beside the reason why not.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::{CommandFactory, Parser};
use healer::cli::Cli;

use crate::support::cluster::{Shape, TestDb};
use crate::support::program::Healer;

/// What may run a block: a page's blocks are run one after the other on one database.
#[derive(Debug)]
struct Block {
    page: String,
    line: usize,
    /// `sh` or `sql`.
    language: String,
    /// The exit code that a block of `sh` ends with: the fence says `exit=3` where it is not 0.
    exit: i32,
    text: String,
    /// From the comment before it: `<!-- not run: REASON; instead: WHAT STANDS IN FOR IT -->`.
    not_run: Option<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("a name");
        if Path::new(&name).extension().is_some_and(|end| end == "md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages.sort();
    pages
}

fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn blocks(page: &str) -> Vec<Block> {
    let text = read(page);
    let (mut all, mut reason) = (Vec::new(), None);
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->")) {
            reason = Some(comment.to_owned());
        } else if let Some(info) = line.strip_prefix("```") {
            let mut words = info.split_whitespace();
            let language = words.next().unwrap_or_default().to_owned();
            let exit =
                words.find_map(|word| word.strip_prefix("exit=")).map_or(0, |code| code.parse().expect("a code"));
            let text: String = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim() != "```")
                .map(|line| format!("{line}\n"))
                .collect();
            if ["sh", "bash", "shell", "sql", "console"].contains(&language.as_str()) {
                assert!(
                    ["sh", "sql"].contains(&language.as_str()),
                    "{page}:{number}: a block of {language} is not tried"
                );
                all.push(Block {
                    page: page.to_owned(),
                    line: number + 1,
                    language,
                    exit,
                    text,
                    not_run: reason.take(),
                });
            }
            reason = None;
        } else if !line.is_empty() {
            reason = None;
        }
    }
    all
}

/// A system with something of everything: stuck, without an id, failed long ago, held; and what the application reports.
const SICK: &str = "INSERT INTO public.content_generation_metadata_comprehensive
        (decision_id, decision_type, content, status, created_at, scheduled_at, posted_at, tweet_id, updated_at)
    SELECT 'done ' || n, 'single', 'x', 'posted', now() - interval '2 days', now() - interval '1 day',
           now() - interval '1 day', 1734000000000000000 + n, now() - interval '1 day' FROM generate_series(1, 40) n;
    INSERT INTO public.post_attempts (decision_id, status, actual_tweet_id, posting_success, created_at, used_at)
    SELECT 'done ' || n, 'USED', 1734000000000000000 + n, true, now() - interval '1 day', now() - interval '1 day'
      FROM generate_series(1, 40) n;
    INSERT INTO public.content_generation_metadata_comprehensive (decision_id, decision_type, content, status, created_at, scheduled_at, updated_at)
    VALUES ('stuck 1', 'single', 'x', 'posting', now() - interval '3 hours', now() - interval '2 hours', now() - interval '50 minutes'),
           ('late 1', 'single', 'x', 'posting', now() - interval '3 days', now() - interval '2 days', now() - interval '50 minutes'),
           ('late 2', 'single', 'x', 'posting', now() - interval '3 days', now() - interval '2 days', now() - interval '50 minutes'),
           ('late 3', 'single', 'x', 'posting', now() - interval '3 days', now() - interval '2 days', now() - interval '50 minutes')";

/// The database that a page's blocks are run on.
struct Ground {
    database: TestDb,
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let database = TestDb::new(Shape::Full);
        // Roles belong to the whole server; another test may have made them.
        for role in ["your_app", "service_role"] {
            let _ = database.client().batch_execute(&format!("CREATE ROLE {role}"));
        }
        database.run(SICK);
        Healer::on(&database, &["init"]).run().expect(0);
        Healer::on(&database, &["heal"]).run().expect(3);
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_healer"), bin.join("healer")).expect("a link");
        for name in ["crontab.example", "healer.toml.example", "sql", "deploy", "docs"] {
            std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).expect("a link");
        }
        Self { database, folder }
    }

    /// Runs a block; what went wrong, if something did.
    fn run(&self, block: &Block) -> Result<(), String> {
        let place = format!("{}:{}", block.page, block.line);
        if block.language == "sql" {
            let done = self.database.client().batch_execute(&block.text);
            return done.map_err(|error| format!("{place}: {error:?}\n{}", block.text));
        }
        let output = self.shell(&block.text);
        let nothing = self.found_nothing();
        if output.status.code() == Some(block.exit) && nothing.is_empty() {
            return Ok(());
        }
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let nothing = nothing.replace('\n', "\nfound nothing: ");
        Err(format!(
            "{place}: {}\n{}\nstdout: {stdout}\nstderr: {stderr}\nfound nothing: {nothing}",
            output.status, block.text
        ))
    }

    /// What a shell makes of a text, in the folder of the reader.
    fn shell(&self, text: &str) -> std::process::Output {
        Command::new("/bin/sh")
            .args(["-e", "-c", &format!("{FINDERS}\n{text}")])
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", format!("{}/bin:{}", self.folder.path().display(), std::env::var("PATH").unwrap_or_default()))
            .env("DATABASE_URL", self.database.url())
            .env("FOUND_NOTHING", self.folder.path().join("found-nothing"))
            .output()
            .expect("a shell")
    }

    /// What was looked for since the last time, and was not there.
    fn found_nothing(&self) -> String {
        let path = self.folder.path().join("found-nothing");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(&path);
        text
    }
}

/// `grep` and `sed` that note when they find nothing: in the middle of a pipe their exit code is lost, and `sed` has none.
const FINDERS: &str = r#"
grep() { command grep "$@" || { echo "grep $*" >>"$FOUND_NOTHING"; return 1; }; }
sed() { sed_found=$(command sed "$@"); [ -n "$sed_found" ] || echo "sed $*" >>"$FOUND_NOTHING"; printf '%s\n' "$sed_found"; }
"#;

#[test]
fn every_block_of_the_handbook_runs_or_tells_why_not() {
    let (mut ran, mut left, mut wrong) = (0, Vec::new(), Vec::new());
    for page in pages() {
        let blocks = blocks(&page);
        let ground = blocks.iter().any(|block| block.not_run.is_none()).then(Ground::new);
        for block in &blocks {
            match (&block.not_run, &ground) {
                (Some(reason), _) => {
                    let (why, instead) = reason.split_once("; instead: ").unwrap_or_else(|| {
                        panic!("{page}:{}: say what stands in for it: {reason}", block.line);
                    });
                    assert!(!why.trim().is_empty() && !instead.trim().is_empty(), "{page}:{}", block.line);
                    // What stands in is a file of the tests or of the scripts, and exists.
                    let file = instead.split_whitespace().find(|word| word.contains('/')).unwrap_or_default();
                    assert!(
                        root().join(file.trim_end_matches([',', '.'])).exists(),
                        "{page}:{}: {instead}",
                        block.line
                    );
                    left.push(format!("{page}:{}: {reason}", block.line));
                }
                (None, Some(ground)) => {
                    wrong.extend(ground.run(block).err());
                    ran += 1;
                }
                (None, None) => {}
            }
        }
    }
    eprintln!("{ran} blocks were run; not run:\n{}", left.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(ran >= 20, "only {ran} blocks were run");
}

#[test]
fn a_command_of_the_handbook_that_finds_nothing_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let ground = Ground { database: TestDb::new(Shape::Minimal), folder };
    for text in ["echo a | grep b | head -n 1", "found=$(echo a | sed -n 's/b//p' | head -n 1)"] {
        ground.shell(text);
        assert!(!ground.found_nothing().is_empty(), "{text}");
    }
    ground.shell("echo a | grep a; echo a | sed -n 's/a/b/p'");
    assert_eq!(ground.found_nothing(), "");
}

/// Where healer can read everything and act on nothing, or not even read.
const BROKEN: [&str; 5] = [
    "DROP SCHEMA healer CASCADE",
    "ALTER VIEW public.content_metadata RENAME TO posts",
    "COMMENT ON SCHEMA healer IS 'healer schema 0'",
    "ALTER DATABASE this_database SET default_transaction_read_only = on",
    "ALTER VIEW public.content_metadata RENAME decision_id TO name",
];

#[test]
fn every_gate_of_the_page_on_ci_is_shut_where_healer_cannot_act() {
    let page = read("docs/ci.md");
    // The steps of the two CIs, and the blocks of the page, up to the part that is about the schema.
    let of_ci = regex::Regex::new(r"(?m)^\s*(?:run: |- )(healer doctor.*)$").unwrap();
    let mut gates: Vec<String> = of_ci.captures_iter(&page).map(|found| found[1].to_owned()).collect();
    assert_eq!(gates.len(), 2, "{gates:?}");
    let blocks = blocks("docs/ci.md");
    gates.extend(blocks.into_iter().map(|block| block.text).filter(|text| text.contains("healer doctor")));
    assert!(gates.len() >= 4, "{gates:?}");
    let whole = Ground::new();
    for gate in &gates {
        let output = whole.shell(gate);
        assert!(output.status.success(), "{gate}: {}", String::from_utf8_lossy(&output.stdout));
    }
    for edit in BROKEN {
        let ground = Ground::new();
        ground.database.run(&edit.replace("this_database", ground.database.name()));
        for gate in &gates {
            let output = ground.shell(gate);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!output.status.success(), "{edit}: {gate}: {said}");
        }
        let document = Healer::on(&ground.database, &["doctor", "--format", "json"]).run().json();
        assert_eq!(document["status"], "failed", "{edit}: {document}");
    }
}

/// Whether healer takes these arguments. Values that a reader fills in stand in capitals.
pub fn parses(arguments: &[String]) {
    let words = std::iter::once("healer".to_owned()).chain(arguments.iter().cloned());
    if let Err(error) = Cli::try_parse_from(words) {
        use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
        assert!(matches!(error.kind(), DisplayHelp | DisplayVersion), "healer {}: {error}", arguments.join(" "));
    }
}

#[test]
fn every_link_of_the_handbook_leads_somewhere() {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    for page in pages() {
        let folder = root().join(&page).parent().expect("a folder").to_owned();
        for found in link.captures_iter(&read(&page)) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            assert!(path.exists(), "{page}: {target}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&path).expect("a page");
                assert!(headings(&text).iter().any(|known| known == heading), "{page}: {target}");
            }
        }
    }
}

/// Headings as they are linked to.
fn headings(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim().to_lowercase()))
        .map(|line| {
            let words: String = line.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
            words.replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_command_and_option_has_its_words_in_the_help() {
    let mut command = Cli::command();
    command.build();
    for sub in std::iter::once(&command).chain(command.get_subcommands()).filter(|sub| sub.get_name() != "help") {
        assert!(sub.get_about().is_some(), "{}", sub.get_name());
        for arg in sub.get_arguments() {
            assert!(arg.get_help().is_some(), "{} {}", sub.get_name(), arg.get_id());
        }
        if sub.get_name() == "healer" {
            continue;
        }
        // What it does in full, and how it is used: lines that healer takes.
        let about = sub.get_long_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() > 100, "{}: {about}", sub.get_name());
        let examples = healer::manual::examples(sub.get_name());
        assert!(!examples.is_empty(), "{}", sub.get_name());
        for (example, _) in examples.iter().chain(healer::manual::EXAMPLES) {
            let words: Vec<String> = example.split_whitespace().map(str::to_owned).collect();
            assert_eq!(words[0], "healer", "{example}");
            parses(&words[1..].iter().take_while(|word| *word != ">").cloned().collect::<Vec<_>>());
        }
    }
    let help = Healer::bare(&["--help"]).run().expect(0).stdout;
    for word in [
        "Examples, ",
        "Words:",
        "Exit codes:",
        "Environment:",
        "Files:",
        "DATABASE_URL_FILE",
        "130, 143",
        "/etc/healer/healer.toml",
    ] {
        assert!(help.contains(word), "no {word:?} in {help}");
    }
}

#[test]
fn the_readme_lists_every_command_and_every_exit_code() {
    let text = read("README.md");
    let mut command = Cli::command();
    command.build();
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        assert!(text.contains(&format!("\n| `{}", sub.get_name())), "{}", sub.get_name());
    }
    for (codes, _) in healer::manual::EXIT_CODES {
        assert!(text.contains(&format!("\n| {codes} |")), "{codes}");
    }
}

#[test]
fn every_check_has_its_place_in_the_handbook() {
    let database = TestDb::new(Shape::Full);
    Healer::on(&database, &["init"]).run().expect(0);
    let text = read("docs/checks.md");
    let known = headings(&text);
    for arguments in passes() {
        let ran = Healer::on(&database, &[&arguments[..], &["--dry-run", "--format", "json"]].concat()).run();
        let document = ran.json();
        let checks = document["checks"].as_array().unwrap_or_else(|| panic!("{document}"));
        assert!(!checks.is_empty(), "{arguments:?}");
        for check in checks {
            let name = check["name"].as_str().expect("a name");
            assert!(known.iter().any(|heading| heading == name), "{name} of {arguments:?} is not in docs/checks.md");
        }
    }
    let mut seen = BTreeSet::new();
    for heading in known {
        assert!(seen.insert(heading.clone()), "{heading} stands twice");
    }
}

/// Every pass that has checks.
fn passes() -> [Vec<&'static str>; 4] {
    [vec!["heal"], vec!["optimize", "performance"], vec!["optimize", "content"], vec!["analyze-errors"]]
}

#[test]
fn the_healer_lines_of_every_schedule_and_unit_are_a_command_line_that_healer_takes() {
    let line = regex::Regex::new(
        r"(?m)(?: healer |^ExecStart=/usr/bin/healer )((?:heal|optimize|analyze-errors|report|doctor) ?.*)$",
    )
    .unwrap();
    let mut found = 0;
    let mut files = vec!["crontab.example".to_owned(), "deploy/debian/healer.cron".into()];
    files.extend(
        ["heal", "performance", "content", "errors", "report"]
            .map(|name| format!("deploy/systemd/healer-{name}.service")),
    );
    for file in files {
        for words in line.captures_iter(&read(&file)) {
            let arguments: Vec<String> = words[1].split_whitespace().map(str::to_owned).collect();
            if exists(&arguments) {
                parses(&arguments);
                found += 1;
            }
        }
    }
    assert!(found >= 3, "{found}");
}

/// Whether this build has the command.
pub fn exists(arguments: &[String]) -> bool {
    Cli::command().get_subcommands().any(|sub| sub.get_name() == arguments[0])
        && arguments.get(1).is_none_or(|word| word != "all")
}
