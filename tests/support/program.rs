//! The binary, run as a person or cron would: with an environment of its own and nothing of the test process's.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::cluster::TestDb;

/// `nobody` and `nogroup` where nothing says otherwise.
const NOBODY: u32 = 65534;

/// One run of the binary that is about to happen.
#[derive(Debug)]
pub struct Healer {
    command: Command,
    /// Its working folder: no configuration file of the machine or the tree is found there.
    folder: tempfile::TempDir,
}

/// What a run gave.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its result.
    pub stdout: String,
    /// Its logs and errors.
    pub stderr: String,
}

impl Healer {
    /// A run without any environment, in an empty folder.
    pub fn bare(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("healer-run-").tempdir().expect("a temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_healer"));
        command.args(arguments).env_clear().current_dir(folder.path()).stdin(Stdio::null());
        // Where the coverage of the code is measured, the program must find its file.
        if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", profile);
        }
        Self { command, folder }
    }

    /// A run on a URL.
    pub fn at(url: &str, arguments: &[&str]) -> Self {
        Self::bare(arguments).env("DATABASE_URL", url)
    }

    /// A run on a database, as the superuser.
    pub fn on(database: &TestDb, arguments: &[&str]) -> Self {
        Self::at(&database.url(), arguments)
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Writes `healer.toml` into the working folder.
    pub fn config(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join("healer.toml"), text).expect("the configuration is written");
        self
    }

    /// Its working folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the working folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the tests are run by root, whom no permission of a file stops: as nobody. Others run it as themselves.
    pub fn by_nobody_for_root(mut self) -> Self {
        let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
        if root {
            std::fs::set_permissions(self.folder.path(), Permissions::from_mode(0o755)).expect("others may enter");
            // The folder of the build may be closed to others: a link, or where that cannot be a copy, in one that is not.
            let (from, program) = (env!("CARGO_BIN_EXE_healer"), self.folder.path().join(".healer"));
            std::fs::hard_link(from, &program)
                .or_else(|_| std::fs::copy(from, &program).map(drop))
                .expect("the binary");
            let mut command = Command::new(program);
            command.args(self.command.get_args()).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
            for (name, value) in self.command.get_envs() {
                command.env(name, value.unwrap_or_default());
            }
            command.uid(NOBODY).gid(NOBODY);
            self.command = command;
        }
        self
    }

    /// Where stdout goes.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    /// Starts it and does not wait.
    pub fn spawn(mut self) -> (Child, tempfile::TempDir) {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        (self.command.spawn().expect("healer starts"), self.folder)
    }

    /// Runs it to its end. That it does not panic holds for every run.
    pub fn run(&mut self) -> Ran {
        Ran::of(self.command.output().expect("healer runs"))
    }
}

/// Sends a signal, by the word of the shell: the program `kill` is not on every machine.
pub fn signal(child: &Child, name: &str) {
    let script = format!("kill -{name} {}", child.id());
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().expect("a shell").success());
}

/// A hash of every row of every table of a database: equal before and after what changes nothing.
pub fn fingerprint(database: &TestDb) -> String {
    let mut client = database.client();
    let tables = client
        .query(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
              WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
            &[],
        )
        .expect("the tables");
    let mut all = String::new();
    for table in tables.iter().map(|row| row.get::<_, String>(0)) {
        let sql = format!("SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} t");
        let hash: String = client.query_one(&sql, &[]).expect("a hash").get(0);
        all.push_str(&format!("{table} {hash}\n"));
    }
    all
}

impl Ran {
    /// What an ended process gave.
    pub fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).expect("stdout is UTF-8");
        let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code(), stdout, stderr }
    }

    /// The one JSON object that stdout is.
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?} {}", self.stdout, self.stderr));
        assert!(value.is_object(), "{value}");
        value
    }

    /// Both streams.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails unless it ended with this code; says what it printed.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the error is one line that holds `words`, followed by a line with the next step.
    #[track_caller]
    pub fn one_error(self, words: &[&str]) -> Self {
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !line.starts_with("warn ")).collect();
        assert_eq!(lines.len(), 2, "{}", self.stderr);
        assert!(lines[1].starts_with("  hint: ") && lines[1].len() > 12, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
        self
    }
}
