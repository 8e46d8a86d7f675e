//! Every schedule of the repository, by its own file's rules: valid, in UTC, and as often as the passes are meant to run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, TimeZone, Timelike, Utc};
use regex::Regex;

/// A pass and how often its schedule fires in a day.
const DAY: [(&str, usize); 5] =
    [("heal", 96), ("optimize performance", 12), ("optimize content", 6), ("analyze-errors", 4), ("report", 1)];

/// What a line of the Debian package's cron file begins with.
const OF_DEBIAN: &str = "healer  test -x /usr/bin/healer || exit 0; ";

/// One schedule found in a file.
#[derive(Debug, Clone)]
struct Found {
    file: String,
    fields: String,
    /// What it starts.
    command: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, by their path from the root.
fn below(folder: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut open: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else {
            all.push(path.strip_prefix(root()).expect("below the root").display().to_string());
        }
    }
    all.sort();
    all
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Files that may hold a line of crontab, also as an example in prose.
fn crontabs() -> Vec<String> {
    let mut files = vec!["crontab.example".to_owned(), "deploy/debian/healer.cron".into(), "README.md".into()];
    files.extend(below("docs").into_iter().filter(|file| Path::new(file).extension().is_some_and(|end| end == "md")));
    files
}

/// Lines of crontab: five fields, then a command that names healer.
fn lines() -> Vec<Found> {
    let line = Regex::new(r"^((?:[0-9*,/-]+ +){4}[0-9*,/-]+) +(.*\bhealer\b.*)$").unwrap();
    let mut all = Vec::new();
    for file in crontabs() {
        for text in read(&file).lines() {
            if let Some(found) = line.captures(text) {
                all.push(Found { file: file.clone(), fields: found[1].to_owned(), command: found[2].to_owned() });
            }
        }
    }
    all
}

/// `schedule:` of a CronJob, with the arguments of its container; `cron:` of a CI; `start:` and `end:` of KEDA.
fn manifests() -> Vec<Found> {
    let schedule = Regex::new(
        r#"(?m)^\s*(?:- )?(?:schedule|cron|start|end): ["']?((?:[0-9*,/-]+ +){4}[0-9*,/-]+)["']?\s*(?:#.*)?$"#,
    )
    .unwrap();
    let arguments = Regex::new(r"(?m)^\s*args: \[(.*)\]$").unwrap();
    let name = Regex::new(r"(?m)^\s*name: healer-(\w+)$").unwrap();
    let mut all = Vec::new();
    for file in below("deploy").into_iter().chain(crontabs()) {
        let text = read(&file);
        for found in schedule.captures_iter(&text) {
            let command = match (arguments.captures(&text), name.captures(&text)) {
                (Some(arguments), _) => arguments[1].replace([',', '"'], ""),
                // A patch of an overlay names the CronJob and no arguments.
                (None, Some(name)) => match &name[1] {
                    "performance" => "optimize performance".to_owned(),
                    "content" => "optimize content".to_owned(),
                    "errors" => "analyze-errors".to_owned(),
                    other => other.to_owned(),
                },
                (None, None) => String::new(),
            };
            all.push(Found { file: file.clone(), fields: found[1].to_owned(), command });
        }
    }
    all
}

/// When a cron expression of five fields fires in a day.
fn firings(fields: &str) -> Vec<DateTime<Utc>> {
    assert_eq!(fields.split_whitespace().count(), 5, "{fields}");
    // The crate counts seconds too.
    let schedule = cron::Schedule::from_str(&format!("0 {fields}")).unwrap_or_else(|error| panic!("{fields}: {error}"));
    let day = Utc.with_ymd_and_hms(2026, 3, 29, 0, 0, 0).unwrap();
    let before = day - TimeDelta::seconds(1);
    schedule.after(&before).take_while(|at| *at < day + TimeDelta::days(1)).collect()
}

/// The pass that a command starts, and how often a day it should.
fn expected(command: &str) -> Option<(&'static str, usize)> {
    let words = command.rsplit_once("healer ").map_or(command, |(_, words)| words);
    DAY.into_iter().find(|(pass, _)| words.trim_start().starts_with(pass))
}

#[test]
fn every_schedule_is_valid_and_fires_as_often_as_its_pass_is_meant_to_run() {
    let all: Vec<Found> = lines().into_iter().chain(manifests()).collect();
    for found in &all {
        let times = firings(&found.fields);
        assert!(!times.is_empty(), "never: {found:?}");
        if let Some((pass, count)) = expected(&found.command) {
            assert_eq!(times.len(), count, "{pass}: {found:?}");
        }
    }
    for file in ["crontab.example", "deploy/debian/healer.cron"] {
        for (pass, _) in DAY {
            let count = all
                .iter()
                .filter(|found| found.file == file && expected(&found.command).is_some_and(|known| known.0 == pass));
            assert_eq!(count.count(), 1, "{pass} in {file}");
        }
    }
    for (name, pass) in ["heal", "performance", "content", "errors", "report"].into_iter().zip(DAY) {
        let file = format!("deploy/kubernetes/base/{name}.yaml");
        let found: Vec<_> = all.iter().filter(|found| found.file == file).collect();
        assert_eq!(found.len(), 1, "{file}");
        assert_eq!(expected(&found[0].command), Some(pass), "{file}");
    }
}

#[test]
fn the_passes_run_at_the_minutes_and_hours_that_the_system_expects() {
    for found in lines().into_iter().chain(manifests()) {
        let Some((pass, _)) = expected(&found.command) else { continue };
        let times = firings(&found.fields);
        let all = |right: &dyn Fn(u32, u32) -> bool| times.iter().all(|at| right(at.hour(), at.minute()));
        assert!(
            match pass {
                "heal" => all(&|_, minute| [5, 20, 35, 50].contains(&minute)),
                "optimize performance" => all(&|hour, minute| hour % 2 == 1 && minute == 0),
                "optimize content" => all(&|hour, minute| hour % 4 == 3 && minute == 0),
                "analyze-errors" => all(&|hour, minute| hour % 6 == 2 && minute == 0),
                _ => true,
            },
            "{found:?}"
        );
    }
}

#[test]
fn lines_of_crontab_hold_nothing_secret_and_no_percent_sign_and_are_quiet_locked_and_bounded() {
    for file in ["crontab.example", "deploy/debian/healer.cron"] {
        let text = read(file);
        let settings: Vec<&str> =
            text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).collect();
        assert!(settings.iter().all(|line| !line.contains('%')), "a bare % ends the command: {file}");
        for word in ["://", "password", "PASSWORD", "TOKEN", "SECRET", "DATABASE_URL="] {
            assert!(settings.iter().all(|line| !line.contains(word)), "{word} in {file}");
        }
    }
    for found in lines().iter().filter(|found| found.file != "README.md" && !found.file.starts_with("docs/")) {
        let command = &found.command;
        for word in [". /etc/healer/env; ", "flock -n -E 0 /var/lib/healer/", " timeout -k 30s 14m healer "] {
            assert!(command.contains(word), "no {word:?}: {found:?}");
        }
        let report = expected(command).is_some_and(|(pass, _)| pass == "report");
        assert_eq!(command.contains(" --quiet --fail-on critical"), !report, "{found:?}");
    }
    // The two files say the same, but for the user that /etc/cron.d names, and that the line outlives the program.
    let debian: Vec<Found> = lines().into_iter().filter(|found| found.file == "deploy/debian/healer.cron").collect();
    assert!(debian.iter().all(|found| found.command.starts_with(OF_DEBIAN)), "{debian:?}");
    let of = |file: &str| -> Vec<(String, String)> {
        let mut all: Vec<_> = lines()
            .into_iter()
            .filter(|found| found.file == file)
            .map(|found| (found.fields, found.command.trim_start_matches(OF_DEBIAN).to_owned()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(of("crontab.example"), of("deploy/debian/healer.cron"));
    assert_eq!(of("crontab.example").len(), DAY.len());
}

/// What the shell makes of a line: the environment is read, the lock is taken, and the second at once is left out.
#[test]
fn a_line_of_crontab_runs_in_the_shell_of_cron() {
    let database = crate::support::cluster::TestDb::new(crate::support::cluster::Shape::Minimal);
    crate::support::program::Healer::on(&database, &["init"]).run().expect(0);
    // A system that is well, and says so.
    database.run(crate::deploy::WELL);
    let folder = tempfile::tempdir().expect("a folder");
    let env = folder.path().join("env");
    std::fs::write(&env, format!("# as in env.example\nDATABASE_URL='{}'\n", database.url())).expect("written");
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_healer"), bin.join("healer")).expect("a link");
    let lock = folder.path().join("healer-");
    let line = lines()
        .into_iter()
        .find(|found| {
            found.file == "crontab.example" && expected(&found.command).is_some_and(|known| known.0 == "heal")
        })
        .expect("a line")
        .command
        .replace("/etc/healer/env", env.to_str().unwrap())
        .replace("/var/lib/healer/", lock.to_str().unwrap());
    let cron = |line: &str| {
        Command::new("/bin/sh")
            .args(["-c", line])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .current_dir(folder.path())
            .output()
            .expect("a shell")
    };
    let quiet = cron(&line);
    assert_eq!(quiet.status.code(), Some(0), "{}", String::from_utf8_lossy(&quiet.stderr));
    assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{}", String::from_utf8_lossy(&quiet.stdout));
    let runs = || database.value("SELECT count(*) FROM healer.run");
    assert_eq!(runs().as_deref(), Some("1"));
    // Held by another: nothing is begun, and nothing is complained of.
    let held = format!("exec 9>'{}heal.lock'; flock 9; {line}", lock.display());
    assert_eq!(cron(&held).status.code(), Some(0));
    assert_eq!(runs().as_deref(), Some("1"));
}

/// `OnCalendar=` of a timer as minutes of the day: lists, `*` and steps, which is all that is used here.
fn calendar(text: &str) -> Vec<(u32, u32)> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [date, time, zone] = parts[..] else { panic!("date, time and zone: {text}") };
    assert_eq!((date, zone), ("*-*-*", "UTC"), "{text}");
    let parts: Vec<&str> = time.split(':').collect();
    let [hours, minutes, "00"] = parts[..] else { panic!("hours, minutes and no seconds: {text}") };
    let values = |field: &str, end: u32| -> Vec<u32> {
        let mut all: Vec<u32> = field
            .split(',')
            .flat_map(|item| match item.split_once('/') {
                Some((from, step)) => (from.parse().unwrap()..end).step_by(step.parse().unwrap()).collect::<Vec<u32>>(),
                None if item == "*" => (0..end).collect(),
                None => vec![item.parse().unwrap()],
            })
            .collect();
        all.sort_unstable();
        all
    };
    let minutes = values(minutes, 60);
    values(hours, 24).into_iter().flat_map(|hour| minutes.iter().map(move |minute| (hour, *minute))).collect()
}

#[test]
fn the_timers_of_systemd_fire_when_the_crontab_does() {
    for (name, (pass, _)) in ["heal", "performance", "content", "errors", "report"].into_iter().zip(DAY) {
        let timer = read(&format!("deploy/systemd/healer-{name}.timer"));
        let service = read(&format!("deploy/systemd/healer-{name}.service"));
        let calendars: Vec<&str> = timer.lines().filter_map(|line| line.strip_prefix("OnCalendar=")).collect();
        assert_eq!(calendars.len(), 1, "{name}");
        let command =
            service.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/healer ")).expect("a command");
        let line = lines()
            .into_iter()
            .find(|found| {
                found.file == "crontab.example" && expected(&found.command).is_some_and(|known| known.0 == pass)
            })
            .expect("a line");
        assert!(line.command.ends_with(&format!("healer {command}")), "{command}: {line:?}");
        let expected_at: Vec<(u32, u32)> = firings(&line.fields).iter().map(|at| (at.hour(), at.minute())).collect();
        assert_eq!(calendar(calendars[0]), expected_at, "{name}");
        // The same, by systemd's own reading.
        if let Ok(asked) = Command::new("systemd-analyze")
            .args(["calendar", calendars[0], "--base-time=2026-01-01 00:00:00 UTC", "--iterations=100"])
            .env("TZ", "UTC")
            .output()
        {
            let text = String::from_utf8_lossy(&asked.stdout);
            assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
            // A firing at the very moment of the base time is not counted: none of ours is at midnight.
            let day = text.lines().filter(|line| line.contains("2026-01-01 ") && line.trim_end().ends_with("UTC"));
            assert_eq!(day.count(), expected_at.len(), "{text}");
        } else {
            eprintln!("systemd-analyze is not installed: its own reading was not tried");
        }
    }
}
