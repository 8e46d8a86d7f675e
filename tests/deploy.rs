//! What healer is shipped in: Kubernetes manifests, the container's file system, systemd units. Without a cluster and
//! without a container engine: each is tried as far as the tools of this machine go, and what was not tried is said.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::tls_cluster::{Authority, TlsCluster};

/// A system that lives and says so: `--quiet` prints nothing then.
pub const WELL: &str = "INSERT INTO public.job_heartbeats (job_name, last_success, last_run_status, updated_at)
    SELECT job, now(), 'success', now() FROM unnest(ARRAY['posting', 'plan', 'reply_posting', 'metrics_scraper']) AS j (job);
    SELECT healer.report_browser(0, 0, 1);
    SELECT healer.report_breaker('posting', false, 0)";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A program of this machine, or of the folder into which `scripts/test` installs what checks the manifests.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(root().join("target/tools/bin"))
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("{name} is not installed: what it checks was not tried");
    }
    found
}

#[track_caller]
fn succeeded(what: &str, output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {stdout}{stderr}");
    stdout.into_owned()
}

/// The documents of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize;
    serde_yaml_ng::Deserializer::from_str(text).map(|one| Value::deserialize(one).expect("YAML")).collect()
}

/// What kustomize makes of a folder; `None`, and said, where it is not installed.
fn built(folder: &str) -> Option<String> {
    let kubectl = tool("kubectl")?;
    let output = Command::new(kubectl).args(["kustomize", folder]).current_dir(root()).output().expect("kubectl runs");
    Some(succeeded(folder, &output))
}

/// The files of the base, as they stand.
fn base() -> Vec<Value> {
    let list = documents(&read("deploy/kubernetes/base/kustomization.yaml"));
    let names = list[0]["resources"].as_array().expect("resources").clone();
    names
        .iter()
        .flat_map(|name| documents(&read(&format!("deploy/kubernetes/base/{}", name.as_str().expect("a name")))))
        .collect()
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|one| one["kind"] == kind).collect()
}

fn name(one: &Value) -> &str {
    one["metadata"]["name"].as_str().expect("a name")
}

/// What must hold of every pod.
fn check_pod(of: &str, job: &Value) {
    assert_eq!(job["backoffLimit"], 0, "{of}");
    assert!(job["activeDeadlineSeconds"].as_i64().is_some_and(|limit| limit < 15 * 60), "{of}: the next one is due");
    assert!(job["ttlSecondsAfterFinished"].is_i64(), "{of}");
    let pod = &job["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never", "{of}");
    assert_eq!(pod["serviceAccountName"], "healer", "{of}");
    assert_eq!(pod["automountServiceAccountToken"], false, "{of}");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{of}");
    assert!(pod["securityContext"]["runAsUser"].as_i64().is_some_and(|user| user > 0), "{of}");
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{of}");
    let containers = pod["containers"].as_array().expect("containers");
    assert_eq!(containers.len(), 1, "{of}");
    let container = &containers[0];
    let rights = &container["securityContext"];
    assert_eq!(rights["allowPrivilegeEscalation"], false, "{of}");
    assert_eq!(rights["readOnlyRootFilesystem"], true, "{of}");
    assert_eq!(rights["capabilities"]["drop"], serde_json::json!(["ALL"]), "{of}");
    for kind in ["requests", "limits"] {
        for what in ["cpu", "memory"] {
            assert!(container["resources"][kind][what].is_string(), "{of}: {kind} {what}");
        }
    }
    let env = container["env"].as_array().expect("env");
    let url = env.iter().find(|one| one["name"] == "DATABASE_URL").expect("DATABASE_URL");
    assert!(url["value"].is_null() && url["valueFrom"]["secretKeyRef"]["name"].is_string(), "{of}");
    for one in env.iter().filter(|one| one["name"].as_str().is_some_and(|name| name.starts_with("DATABASE"))) {
        assert!(one["valueFrom"]["secretKeyRef"].is_object(), "{of}: a URL in the clear");
    }
    assert!(env.iter().any(|one| one["name"] == "PGSSLMODE" && one["value"] == "verify-full"), "{of}");
    let authority = env.iter().find(|one| one["name"] == "PGSSLROOTCERT").expect("PGSSLROOTCERT")["value"].as_str();
    let mount = &container["volumeMounts"][0];
    assert!(authority.is_some_and(|path| path.starts_with(mount["mountPath"].as_str().expect("a path"))), "{of}");
    assert_eq!(mount["readOnly"], true, "{of}");
    let sources = pod["volumes"][0]["projected"]["sources"].as_array().expect("sources");
    assert!(
        sources.iter().any(|one| one["configMap"]["name"].as_str().is_some_and(|name| name.starts_with("healer-ca"))),
        "{of}"
    );
}

fn check(all: &[Value]) {
    let jobs = of_kind(all, "CronJob");
    let mut names: Vec<&str> = jobs.iter().map(|one| name(one)).collect();
    names.sort_unstable();
    assert_eq!(names, ["healer-content", "healer-errors", "healer-heal", "healer-performance", "healer-report"]);
    for one in jobs {
        let spec = &one["spec"];
        assert_eq!(spec["concurrencyPolicy"], "Forbid", "{}", name(one));
        assert_eq!(spec["timeZone"], "Etc/UTC", "{}", name(one));
        assert!(spec["startingDeadlineSeconds"].is_i64(), "{}", name(one));
        check_pod(name(one), &spec["jobTemplate"]["spec"]);
    }
    let init = of_kind(all, "Job");
    assert_eq!(init.len(), 1);
    check_pod(name(init[0]), &init[0]["spec"]);
    assert_eq!(init[0]["spec"]["template"]["spec"]["containers"][0]["args"], serde_json::json!(["init"]));
    let account = of_kind(all, "ServiceAccount");
    assert_eq!(account.len(), 1);
    assert_eq!(account[0]["automountServiceAccountToken"], false);
    let policy = of_kind(all, "NetworkPolicy");
    assert_eq!(policy.len(), 1);
    assert_eq!(policy[0]["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    assert_eq!(policy[0]["spec"]["ingress"], serde_json::json!([]));
    assert!(of_kind(all, "Secret").is_empty(), "a secret stands in no manifest");
}

#[test]
fn every_pod_of_the_manifests_is_bounded_and_may_do_nothing_but_talk_to_the_database() {
    check(&base());
}

#[test]
fn the_arguments_of_every_cron_job_are_a_command_line_that_healer_takes() {
    for one in base().iter().filter(|one| one["kind"] == "CronJob" || one["kind"] == "Job") {
        let job = if one["kind"] == "Job" { &one["spec"] } else { &one["spec"]["jobTemplate"]["spec"] };
        let arguments: Vec<String> = job["template"]["spec"]["containers"][0]["args"]
            .as_array()
            .expect("args")
            .iter()
            .map(|one| one.as_str().expect("every argument is a text").to_owned())
            .collect();
        if crate::handbook::exists(&arguments) {
            crate::handbook::parses(&arguments);
        }
    }
}

#[test]
fn kustomize_builds_base_and_overlay_and_every_object_is_valid_to_the_letter() {
    for folder in ["deploy/kubernetes/base", "deploy/kubernetes/overlays/example"] {
        let Some(text) = built(folder) else { return };
        let all = documents(&text);
        check(&all);
        let Some(validate) = tool("kubernetes-validate") else { continue };
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
        std::fs::write(file.path(), &text).expect("written");
        // --strict refuses what the schema does not know.
        let output = Command::new(&validate).arg("--strict").arg(file.path()).output().expect("it runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches(" passed for resource ").count(), all.len(), "{said}");
        // The control: a word that Kubernetes does not know is noticed.
        std::fs::write(file.path(), text.replacen("concurrencyPolicy", "concurencyPolicy", 1)).expect("written");
        let output = Command::new(&validate).arg("--strict").arg(file.path()).output().expect("it runs");
        assert!(!output.status.success(), "a misspelt field went through");
    }
}

#[test]
fn the_overlay_names_image_namespace_and_certificate_and_leaves_the_rest() {
    let Some(text) = built("deploy/kubernetes/overlays/example") else { return };
    let all = documents(&text);
    for one in &all {
        assert_eq!(one["metadata"]["namespace"], "posting", "{one}");
    }
    for one in of_kind(&all, "CronJob") {
        let pod = &one["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        let image = pod["containers"][0]["image"].as_str().expect("an image");
        assert!(image.contains('/') && !image.ends_with(":latest"), "{image}");
        // The names carry a hash of what is in them: a changed file is a changed pod.
        let named = pod["volumes"][0]["projected"]["sources"][1]["configMap"]["name"].as_str().expect("a name");
        assert!(of_kind(&all, "ConfigMap").iter().any(|map| name(map) == named), "{named}");
    }
    let settings: Vec<_> = all.iter().filter_map(|one| one["data"]["healer.toml"].as_str()).collect();
    assert_eq!(settings.len(), 1);
    healer::settings::Settings::from_toml(settings[0]).expect("a configuration that healer takes");
}

#[test]
fn the_dockerfile_builds_in_one_stage_and_ships_in_another_as_nobody() {
    let text = read("Dockerfile");
    let last = text.rsplit("\nFROM ").next().expect("a last stage");
    assert!(text.matches("\nFROM ").count() == 2 && last.starts_with("scratch\n"), "{text}");
    assert!(text.contains("cargo build --release --locked --no-default-features"), "without the sandbox");
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "runAsNonRoot needs a number: {user}");
    assert!(last.contains("\nHEALTHCHECK NONE\n") && last.contains("\nENTRYPOINT [\"/usr/bin/healer\"]\n"));
    for label in ["title", "description", "licenses", "version", "revision"] {
        assert!(last.contains(&format!("org.opencontainers.image.{label}=")), "{label}");
    }
    let version = format!("VERSION={}\n", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version), "the image tells the version of Cargo.toml");
    if let Some(hadolint) = tool("hadolint") {
        succeeded("hadolint", &Command::new(hadolint).arg(root().join("Dockerfile")).output().expect("it runs"));
    }
}

/// The image's file system, laid out by the script that the Dockerfile calls, as its own root: read-only, as a user
/// without rights, with the two files that a container engine adds.
#[test]
fn the_binary_works_in_the_image_s_file_system_read_only_and_unprivileged() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("others may enter");
    let image = folder.path().join("root");
    let laid = Command::new(root().join("scripts/rootfs")).arg(env!("CARGO_BIN_EXE_healer")).arg(&image).output();
    succeeded("scripts/rootfs", &laid.expect("it runs"));
    let mut files = Vec::new();
    let mut open = vec![image.clone()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else {
            files.push(path.strip_prefix(&image).expect("below").display().to_string());
        }
    }
    for file in &files {
        let known = file == "usr/bin/healer"
            || ["etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt"]
                .contains(&file.as_str())
            || ["libc.so", "libgcc_s.so", "ld-linux", "libm.so"].iter().any(|library| file.contains(library));
        assert!(known, "the image holds {file}");
    }

    if !is_root() {
        eprintln!("not root: the image was laid out and not entered");
        return;
    }
    let authority = Authority::new("right");
    let (certificate, key) = authority.issue("db.test", false);
    let cluster = TlsCluster::start(
        "ssl=on\nssl_cert_file='server.pem'\nssl_key_file='server.key'\n",
        "hostssl all all 127.0.0.1/32 scram-sha-256\n",
    );
    cluster.write("data/server.pem", &certificate);
    cluster.write("data/server.key", &key);
    let cluster = cluster.up();
    let mut admin = postgres::Client::connect(
        &format!("host={} port={} user=postgres dbname=postgres", cluster.socket().display(), cluster.port),
        postgres::NoTls,
    )
    .expect("a session");
    admin
        .batch_execute("SET password_encryption = 'scram-sha-256'; ALTER ROLE postgres PASSWORD 'sesame'")
        .expect("set");
    admin.batch_execute(crate::support::cluster::Shape::Minimal.ddl()).expect("the tables");
    // What a container engine and the CronJob add.
    std::fs::write(image.join("etc/hosts"), "127.0.0.1 db.test\n").expect("written");
    std::fs::write(image.join("etc/resolv.conf"), "").expect("written");
    std::fs::write(image.join("etc/healer/ca.pem"), authority.pem()).expect("written");
    let url = format!("postgresql://postgres:sesame@db.test:{}/postgres", cluster.port);
    // Where a pod or a container would have the socket of a server beside it.
    std::fs::create_dir_all(image.join("run/postgresql")).expect("a folder");
    std::fs::set_permissions(cluster.socket(), std::fs::Permissions::from_mode(0o755)).expect("others may enter");
    let run_at = |url: &str, arguments: &[&str]| {
        // In a name space of its own the root is mounted read-only; where that is not allowed, it is only not writable.
        let script =
            "if [ \"$1\" = ro ]; then mount --bind \"$2\" \"$2\" && mount --bind \"$3\" \"$2/run/postgresql\" &&
               mount -o remount,bind,ro \"$2\" || exit 99; fi
            root=$2; shift 3; exec chroot --userspec=65532:65532 \"$root\" /usr/bin/healer \"$@\"";
        let enter = |unshared: bool| {
            let mut command = if unshared { Command::new("unshare") } else { Command::new("/bin/sh") };
            if unshared {
                command.args(["--mount", "/bin/sh"]);
            }
            command
                .args(["-c", script, "enter", if unshared { "ro" } else { "rw" }])
                .arg(&image)
                .arg(cluster.socket())
                .args(arguments)
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("DATABASE_URL", url)
                .env("PGSSLMODE", "verify-full")
                .env("PGSSLROOTCERT", "/etc/healer/ca.pem")
                .output()
                .expect("it runs")
        };
        let output = enter(true);
        // 1 is unshare's own, 99 ours: neither has begun healer.
        if output.status.code() == Some(99) || String::from_utf8_lossy(&output.stderr).contains("unshare") {
            eprintln!("no name space of its own here: the image was entered without a read-only mount");
            return enter(false);
        }
        output
    };
    let run = |arguments: &[&str]| run_at(&url, arguments);
    succeeded("--version", &run(&["--version"]));
    succeeded("init", &run(&["init"]));
    admin.batch_execute(WELL).expect("a system that lives");
    succeeded("heal", &run(&["heal", "--quiet", "--fail-on", "critical"]));
    let report = succeeded("report", &run(&["report", "--format", "json"]));
    assert!(report.contains("\"command\""), "{report}");
    // The other way in: the socket, where there is no TLS to verify.
    let socket = format!("postgresql://postgres@/postgres?host=/run/postgresql&port={}", cluster.port);
    let told = run_at(&socket, &["heal", "--dry-run"]);
    if image_is_entered_read_only() {
        succeeded("heal over the socket", &told);
    }
    // Nothing can be written there, and that is told and not a panic.
    let written = run(&["report", "--output", "/etc/report.txt"]);
    assert_eq!(written.status.code(), Some(1), "{}", String::from_utf8_lossy(&written.stderr));
    assert!(!image.join("etc/report.txt").exists());
}

/// Whether a name space of its own can be had here: only there the socket is brought into the image.
fn image_is_entered_read_only() -> bool {
    Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success())
}

/// A copy of the scripts in a folder of its own, where cargo and the programs around it are what a test makes of them, and
/// nothing else of this machine is found but the plainest tools.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let workshop = Self(folder);
        for made in ["scripts", "bin", "target/tools/bin"] {
            std::fs::create_dir_all(workshop.path(made)).expect("a folder");
        }
        for script in ["need", "try", "test", "package"] {
            let to = workshop.path(&format!("scripts/{script}"));
            std::fs::copy(root().join("scripts").join(script), to).expect("a copy");
        }
        for name in
            ["bash", "cat", "chmod", "cp", "date", "dirname", "env", "id", "mkdir", "readlink", "rm", "sed", "tail"]
        {
            let found =
                ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
            let found = found.unwrap_or_else(|| panic!("no {name} on this machine"));
            std::os::unix::fs::symlink(found, workshop.path(&format!("bin/{name}"))).expect("a link");
        }
        for name in ["cc", "pgbouncer", "initdb", "postgres"] {
            workshop.program(&format!("bin/{name}"), "exit 0");
        }
        for name in ["kubernetes-validate", "hadolint"] {
            workshop.program(&format!("target/tools/bin/{name}"), "exit 0");
        }
        // cargo, as far as the scripts use it: it builds where the variable says.
        workshop.program(
            "bin/cargo",
            r#"built=${CARGO_TARGET_DIR:-target}
            case "$1" in
              build | run) mkdir -p "$built/release"
                printf '#!/bin/sh\necho "healer $*"\n' >"$built/release/healer"; chmod 755 "$built/release/healer" ;;
            esac
            case "$1" in
              run) while [ "$1" != -- ]; do shift; [ "$#" -gt 0 ] || exit 0; done; shift; exec "$built/release/healer" "$@" ;;
              deb) mkdir -p target/debian; : >target/debian/healer.deb; echo target/debian/healer.deb ;;
              install) echo "no network" >&2; exit 101 ;;
            esac"#,
        );
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        std::fs::write(self.path(name), format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).expect("changed");
    }

    /// Runs a script without HOME, as init systems and containers start things; what it printed and said.
    fn run(&self, words: &[&str], variables: &[(&str, &Path)]) -> (String, String) {
        let output = Command::new("/bin/bash")
            .args(words)
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HEALER_PG_BIN", self.path("bin"))
            .envs(variables.iter().map(|(name, value)| (*name, value.as_os_str())))
            .output()
            .expect("bash");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (succeeded(&format!("{words:?}: {said}"), &output), said)
    }
}

#[test]
fn the_script_to_try_healer_runs_what_was_built_wherever_that_is() {
    let workshop = Workshop::new();
    for variables in [&[][..], &[("CARGO_TARGET_DIR", &*workshop.path("elsewhere"))]] {
        assert_eq!(workshop.run(&["scripts/try"], variables).0, "healer --sandbox heal --dry-run\n");
        assert_eq!(workshop.run(&["scripts/try", "report"], variables).0, "healer --sandbox report\n");
    }
}

#[test]
fn the_package_is_made_without_a_home_and_checked_only_where_it_can_be_made() {
    let workshop = Workshop::new();
    let checked = workshop.path("checked");
    std::fs::rename(workshop.path("scripts/package"), workshop.path("scripts/true-package")).expect("moved");
    workshop.program("scripts/package", &format!("[ \"$1\" = --check ] && : >'{}'", checked.display()));
    // Programs that this machine's cargo has installed are not looked for yet.
    let nowhere = workshop.path("nowhere");
    let bare = [("CARGO_HOME", &*nowhere)];
    let (_, said) = workshop.run(&["scripts/test"], &bare);
    assert!(said.contains("no dpkg-deb") && said.contains("the Debian package was not checked"), "{said}");
    workshop.program("bin/dpkg-deb", "exit 0");
    let (_, said) = workshop.run(&["scripts/test"], &bare);
    assert!(said.contains("cannot be installed") && said.contains("the Debian package was not checked"), "{said}");
    assert!(!checked.exists());
    workshop.program("bin/cargo-deb", "exit 0");
    let (_, said) = workshop.run(&["scripts/test"], &[]);
    assert!(checked.exists() && !said.contains("not checked"), "{said}");
    let (made, _) = workshop.run(&["scripts/true-package"], &[]);
    assert!(made.ends_with("/target/debian/healer.deb\n"), "{made}");
}

/// Whether this process may change its root.
fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[test]
fn systemd_takes_the_units_without_a_word() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let units = root().join("deploy/systemd");
    let copied = Command::new("cp").arg("-r").arg(units.join(".")).arg(folder.path()).status().expect("cp");
    assert!(copied.success());
    let mut named = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            continue;
        }
        // It is installed under this name; here it is the one of the tests.
        let text = std::fs::read_to_string(&entry).expect("a unit");
        std::fs::write(&entry, text.replace("/usr/bin/healer", env!("CARGO_BIN_EXE_healer"))).expect("written");
        named.push(entry);
    }
    assert_eq!(named.len(), 10);
    let verify = |paths: &[PathBuf]| {
        let output = Command::new(&analyze)
            .args(["verify", "--man=no"])
            .args(paths)
            .env("LC_ALL", "C")
            .output()
            .expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (fine, said) = verify(&named);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("healer")).collect();
    assert!(fine && ours.is_empty(), "{said}");
    // The control: a setting that does not exist is noticed, in the file that all services share too.
    let common = folder.path().join("healer-.service.d/common.conf");
    let text = std::fs::read_to_string(&common).expect("the common part");
    std::fs::write(&common, text.replace("ProtectHome=", "ProtectHouse=")).expect("written");
    assert!(verify(&named).1.contains("ProtectHouse"), "the common part is not read");
}
