//! The program as its users run it: a process of its own, nothing of this one's surroundings, one JSON document.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::cluster::TestDb;

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// The exit code; −1 for one that a signal ended.
    pub code: i32,
    /// What stdout held.
    pub json: Value,
    /// What stderr held.
    pub stderr: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let json = serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("stdout is one JSON document ({error}): {stdout}\nstderr: {stderr}"));
        Self { code: output.status.code().unwrap_or(-1), json, stderr }
    }

    /// Fails unless the exit code is this one, and says why it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{:#}\n{}", self.json, self.stderr);
        self
    }

    /// The id of the run.
    #[track_caller]
    pub fn id(&self) -> i64 {
        self.json["runId"].as_i64().unwrap_or_else(|| panic!("a recorded run: {:#}", self.json))
    }

    /// One of the counts; −1 for `null`.
    pub fn count(&self, name: &str) -> i64 {
        self.json["counts"][name].as_i64().unwrap_or(-1)
    }

    /// The actions.
    pub fn actions(&self) -> &[Value] {
        self.json["actions"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The action on a post, if there is one: the first, where its id is looked for as well.
    pub fn action(&self, post: &str) -> Option<&Value> {
        self.actions().iter().find(|action| action["target"] == post)
    }

    /// What an action says under a key, as text; empty where there is no action.
    pub fn says(&self, post: &str, key: &str) -> String {
        self.action(post).map_or_else(String::new, |action| match &action[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// A check.
    #[track_caller]
    pub fn check(&self, name: &str) -> &Value {
        self.json["checks"]
            .as_array()
            .and_then(|checks| checks.iter().find(|check| check["name"] == name))
            .unwrap_or_else(|| panic!("no check {name}: {:#}", self.json))
    }

    /// All that a check says: summary and details.
    pub fn words(&self, check: &str) -> String {
        let check = self.check(check);
        let details = check["details"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let mut words = check["summary"].as_str().unwrap_or_default().to_owned();
        for line in details {
            words.push('\n');
            words.push_str(line.as_str().unwrap_or_default());
        }
        words
    }

    /// Every action as (post, from, to), in order: what a dry run and a real run must agree on.
    pub fn changes(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut changes: Vec<_> = self
            .actions()
            .iter()
            .map(|action| (text(&action["target"]), text(&action["from"]), text(&action["to"])))
            .collect();
        changes.sort();
        changes
    }
}

/// The program, ready to be run on a database.
#[derive(Debug)]
pub struct Healer {
    url: String,
    /// The working folder: empty, so that no `healer.toml` is in the way.
    dir: Arc<TempDir>,
    config: Option<PathBuf>,
    variables: Vec<(String, String)>,
}

impl Healer {
    /// On a test's database, as its superuser.
    pub fn on(database: &TestDb) -> Self {
        Self::at(database.url())
    }

    /// At a URL.
    pub fn at(url: impl Into<String>) -> Self {
        let dir = tempfile::Builder::new().prefix("healer-cwd-").tempdir().expect("a temporary folder");
        Self { url: url.into(), dir: Arc::new(dir), config: None, variables: Vec::new() }
    }

    /// With this configuration.
    #[must_use]
    pub fn with_config(mut self, toml: &str) -> Self {
        let path = self.dir.path().join("given.toml");
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(toml.as_bytes()))
            .expect("the configuration is written");
        self.config = Some(path);
        self
    }

    /// With this environment variable.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_healer"));
        command.env_clear().env("DATABASE_URL", &self.url).current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command.args(["--format", "json"]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(args);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(&self.command(args).output().expect("the program starts"))
    }

    /// Starts it.
    pub fn start(&self, args: &[&str]) -> Running {
        let child =
            self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        Running(child, Arc::clone(&self.dir))
    }

    /// `healer heal` with more arguments.
    pub fn heal(&self, args: &[&str]) -> Run {
        let mut all = vec!["heal"];
        all.extend_from_slice(args);
        self.run(&all)
    }

    /// `healer init`, which must succeed; gives itself back.
    #[must_use]
    pub fn init(self) -> Self {
        self.run(&["init"]).exits(0);
        self
    }
}

/// A run at work, and its working folder.
#[derive(Debug)]
pub struct Running(Child, Arc<TempDir>);

impl Running {
    /// Waits for its end.
    pub fn end(self) -> Run {
        Run::of(&self.0.wait_with_output().expect("it ends"))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it waits for a lock; fails with what it said if it ends before.
    #[track_caller]
    pub fn await_waiting(&mut self, database: &TestDb) {
        let waiting = "SELECT count(*) > 0 FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let mut client = database.client();
        while !client.query_one(waiting, &[]).expect("asked").get::<_, bool>(0) {
            if let Some(status) = self.0.try_wait().expect("its state is known") {
                let mut said = String::new();
                if let Some(mut out) = self.0.stdout.take() {
                    let _ = std::io::Read::read_to_string(&mut out, &mut said);
                }
                if let Some(mut out) = self.0.stderr.take() {
                    let _ = std::io::Read::read_to_string(&mut out, &mut said);
                }
                panic!("it ended with {status} and did not wait: {said}");
            }
            client.batch_execute("SELECT pg_sleep(0.005)").expect("paused");
        }
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(mut self) {
        self.0.kill().expect("it is there to be killed");
        self.0.wait().expect("it ends");
    }
}
