//! The account under which the sandbox's server runs.
//!
//! Postgres refuses to run as root. As root, healer therefore starts it under the account of the Postgres package, or
//! under `nobody`; everybody else runs it as themselves.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::SandboxError;

/// `nobody` and `nogroup` on systems whose `/etc/passwd` does not name them.
const NOBODY: u32 = 65534;

/// Who owns the server's files and runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The person who started healer.
    Myself,
    /// An unprivileged account, because healer runs as root.
    Other {
        /// Its number.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Account {
    /// Chooses the account for this process.
    pub fn choose() -> Result<Self, SandboxError> {
        if !running_as_root()? {
            return Ok(Self::Myself);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = ["postgres", "_postgres", "nobody"]
            .iter()
            .find_map(|name| account_in(&passwd, name))
            .unwrap_or((NOBODY, NOBODY));
        Ok(Self::Other { uid, gid })
    }

    /// The owner of `path` in the place of the account that was chosen, where healer runs as root and `path` exists.
    #[must_use]
    pub fn or_owner_of(self, path: &Path) -> Self {
        match (self, fs::symlink_metadata(path)) {
            (Self::Other { .. }, Ok(found)) if found.uid() != 0 => Self::Other { uid: found.uid(), gid: found.gid() },
            _ => self,
        }
    }

    /// Makes `command` run under this account; the standard library drops the groups of root on the way.
    pub fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives `path` to this account.
    pub fn own(self, path: &Path) -> Result<(), SandboxError> {
        if let Self::Other { uid, gid } = self {
            chown(path, Some(uid), Some(gid)).map_err(SandboxError::io("giving to the server's account", path))?;
        }
        Ok(())
    }

    /// Fails where a folder above `dir` keeps this account out, naming that folder.
    pub fn can_reach(self, dir: &Path) -> Result<(), SandboxError> {
        let Self::Other { uid, gid } = self else { return Ok(()) };
        for folder in dir.ancestors() {
            let found = fs::metadata(folder).map_err(SandboxError::io("looking at", folder))?;
            let needed = match (found.uid() == uid, found.gid() == gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if found.mode() & needed == 0 {
                return Err(SandboxError::Unreachable { dir: dir.to_owned(), folder: folder.to_owned(), uid });
            }
        }
        Ok(())
    }

    /// Fails where root is about to work in a folder that somebody else can change under it.
    pub fn trusts(self, dir: &Path) -> Result<(), SandboxError> {
        let Self::Other { .. } = self else { return Ok(()) };
        let owner = fs::metadata(dir).map_err(SandboxError::io("looking at", dir))?.uid();
        if owner == 0 { Ok(()) } else { Err(SandboxError::NotRoots { dir: dir.to_owned(), owner }) }
    }
}

/// Asks `id`: the standard library has no word for the effective user.
fn running_as_root() -> Result<bool, SandboxError> {
    let output = Command::new("id")
        .arg("-u")
        .stdin(Stdio::null())
        .output()
        .map_err(SandboxError::io("asking for the user with", Path::new("id")))?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// User and group number of `name` in the text of `/etc/passwd`.
fn account_in(passwd: &str, name: &str) -> Option<(u32, u32)> {
    // macOS writes the number of `nobody` as -2, which is the same 32 bits.
    let number = |text: &str| text.parse::<u32>().ok().or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned));
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        // An account with root's rights would defeat the purpose.
        (uid != 0).then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:admin,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(account_in(passwd, "postgres"), Some((101, 104)));
        assert_eq!(account_in(passwd, "nobody"), None);
        assert_eq!(account_in(passwd, "root"), None);
        assert_eq!(
            account_in("nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false", "nobody"),
            Some((4_294_967_294, 4_294_967_294))
        );
        assert_eq!(account_in("postgres:x\n", "postgres"), None);
    }
}
