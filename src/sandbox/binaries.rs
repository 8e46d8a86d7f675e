//! Where the Postgres programs of the sandbox come from.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::SandboxError;

/// The oldest major version that the sandbox's SQL is written for.
const OLDEST_MAJOR: u32 = 13;

/// Folders that hold one folder a version, and what stands behind the version: the packages of Debian, of
/// postgresql.org for Red Hat, of Alpine, of Homebrew (both processors) and Postgres.app.
const FAMILIES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// `initdb` and `postgres` of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The program that creates a data directory.
    pub initdb: PathBuf,
    /// The server.
    pub postgres: PathBuf,
    /// Its major version, for example 15.
    pub major: u32,
    /// Whether the library of `pg_stat_statements` stands where this server looks for it.
    pub has_pg_stat_statements: bool,
}

impl Binaries {
    /// Looks in `HEALER_PG_BIN`, in `PATH`, and where packages put them, the highest version first.
    ///
    /// A `HEALER_PG_BIN` that holds no server is an error: somebody meant that folder and no other.
    pub fn find() -> Result<Self, SandboxError> {
        if let Some(dir) = env::var_os("HEALER_PG_BIN").filter(|dir| !dir.is_empty()) {
            return Self::in_dir(Path::new(&dir));
        }
        let places = places();
        for dir in &places {
            if complete(dir).is_some() {
                return Self::in_dir(dir);
            }
        }
        Err(SandboxError::NoBinaries { places: places.len() })
    }

    /// The programs in `dir`, with symbolic links followed: a server finds its own files beside its real place.
    pub fn in_dir(dir: &Path) -> Result<Self, SandboxError> {
        let Some((initdb, postgres)) = complete(dir) else {
            return Err(SandboxError::BadBinaries {
                dir: dir.to_owned(),
                reason: "it does not hold both initdb and postgres".into(),
            });
        };
        let bad = |reason: String| SandboxError::BadBinaries { dir: dir.to_owned(), reason };
        let output = Command::new(&postgres)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| bad(format!("postgres cannot be run: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let major = major_version(&text).ok_or_else(|| bad(format!("its version is not readable: {}", text.trim())))?;
        if major < OLDEST_MAJOR {
            return Err(bad(format!("it is version {major}, the oldest that works is {OLDEST_MAJOR}")));
        }
        let has_pg_stat_statements = has_library(&postgres, "pg_stat_statements");
        Ok(Self { initdb, postgres, major, has_pg_stat_statements })
    }
}

/// The folders in the order in which they are tried.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    for (parent, prefix, below) in FAMILIES {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix(prefix)?;
                Some((leading_number(version.trim_start_matches('@')), entry.path().join(below)))
            })
            .collect();
        versions.sort_by(|left, right| right.cmp(left));
        places.extend(versions.into_iter().map(|(_, path)| path));
    }
    places
}

/// The real paths of both programs, where `dir` leads to an installation that has both.
fn complete(dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let initdb = fs::canonicalize(dir.join("initdb")).ok()?;
    let postgres = initdb.parent()?.join("postgres");
    let postgres = if postgres.is_file() { postgres } else { fs::canonicalize(dir.join("postgres")).ok()? };
    (initdb.is_file() && postgres.is_file()).then_some((initdb, postgres))
}

/// The major version in the words of `postgres --version`.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    Some(leading_number(version)).filter(|major| *major > 0)
}

/// The number at the start of `text`; 0 where there is none.
fn leading_number(text: &str) -> u32 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().unwrap_or(0)
}

/// Whether the server finds `name` in its library folder, which lies beside its `bin`: `lib` in packages that have a
/// folder a version, `lib/postgresql` in those that share one.
fn has_library(postgres: &Path, name: &str) -> bool {
    let Some(root) = postgres.parent().and_then(Path::parent) else {
        return false;
    };
    ["lib", "lib/postgresql", "lib64/pgsql", "lib/pgsql", "lib64/postgresql"]
        .iter()
        .flat_map(|folder| ["so", "dylib"].map(|end| root.join(folder).join(format!("{name}.{end}"))))
        .any(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_packages_print() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.12 (Debian 15.12-0+deb12u2)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_version("postgres 15\n"), None);
        assert_eq!(major_version("postgres (PostgreSQL) devel\n"), None);
    }

    #[test]
    fn a_folder_without_a_server_is_named() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let error = Binaries::in_dir(dir.path()).expect_err("nothing is there");
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    }
}
