//! The keeper: what signs a user of the server off when its process ends, and stops the server after the last one.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::SandboxError;
use super::account::Account;
use super::folder::{Folder, remove_file};

/// Arguments: the run folder, the user's file, the data folder, and a folder to remove at the end or "".
const SCRIPT: &str = r#"
run=$1 user=$2 data=$3 remove=$4
signal=INT
# Data that is about to be removed need not be written out.
[ -n "$remove" ] && signal=QUIT
read -r _
rm -f "$user"
turns=0
until mkdir "$run/stopping" 2>/dev/null; do
  turns=$((turns + 1))
  [ "$turns" -gt 1500 ] && exit 1
  sleep 0.02
done
for other in "$run"/users/*; do
  [ -e "$other" ] && { rmdir "$run/stopping"; exit 0; }
done
pid=
[ -e "$run/pid" ] && read -r pid <"$run/pid"
# A server that was started an instant ago has not written its own file yet.
turns=0
while [ -n "$pid" ] && [ ! -s "$data/postmaster.pid" ] && [ "$turns" -lt 50 ]; do
  turns=$((turns + 1))
  sleep 0.02
done
found=
[ -s "$data/postmaster.pid" ] && read -r found <"$data/postmaster.pid"
# Both files must name it: a number alone may belong to another process by now.
if [ -n "$pid" ] && [ "$pid" = "$found" ]; then
  kill "-$signal" "$pid" 2>/dev/null
  turns=0
  while [ -e "$data/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null; do
    turns=$((turns + 1))
    [ "$turns" = 750 ] && kill -QUIT "$pid" 2>/dev/null
    [ "$turns" -gt 1500 ] && break
    sleep 0.02
  done
fi
rm -f "$run/pid"
[ -n "$remove" ] && rm -rf "$remove"
rmdir "$run/stopping" 2>/dev/null
exit 0
"#;

/// One user of a server, signed on. Dropping it signs off and waits until the server has stopped, if nobody is left.
#[derive(Debug)]
pub struct Keeper {
    /// The lock on the user's file says, to those who come later, that this user is alive.
    _user: File,
    shell: Child,
    /// Closing it is what the shell waits for.
    pipe: Option<ChildStdin>,
}

impl Keeper {
    /// Signs on to the server of `folder`. With `remove`, the last user removes the folder.
    pub fn start(folder: &Folder, remove: bool) -> Result<Self, SandboxError> {
        let (path, user) = sign_on(&folder.users())?;
        // What we made is removed with our own rights; all else needs no more than the server's account has.
        let account = if remove { Account::Myself } else { folder.account };
        let program = Path::new("/bin/sh");
        let mut shell = quiet_command(program, account)
            .arg("-c")
            .arg(SCRIPT)
            .arg("healer-sandbox-keeper")
            .args([&folder.run, &path, &folder.data])
            .arg(if remove { folder.dir.as_path() } else { Path::new("") })
            .stdin(Stdio::piped())
            .spawn()
            .map_err(SandboxError::io("running", program))?;
        let pipe = shell.stdin.take();
        Ok(Self { _user: user, shell, pipe })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // It ends by itself; waiting for it means that no server outlives the command that has ended.
        if let Err(error) = self.shell.wait() {
            log::debug!("waiting for the sandbox's keeper: {error}");
        }
    }
}

/// Writes down that this process uses the server, and strikes out those who died together with their keeper.
fn sign_on(users: &Path) -> Result<(PathBuf, File), SandboxError> {
    /// One process may use a server more than once.
    static NEXT: AtomicU32 = AtomicU32::new(0);

    for entry in fs::read_dir(users).map_err(SandboxError::io("listing", users))?.flatten() {
        let path = entry.path();
        // Whoever is alive holds the lock on its file. The file may also be gone by now: then there is nothing to do.
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            remove_file(&path)?;
        }
    }
    let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = users.join(name);
    // A file of this name was left by a dead process with the same pid, and was removed above.
    let file = File::create_new(&path).map_err(SandboxError::io("creating", &path))?;
    file.lock().map_err(SandboxError::io("locking", &path))?;
    Ok((path, file))
}

/// A command that shares neither terminal, signals, output nor Postgres's environment with healer.
pub(super) fn quiet_command(program: &Path, account: Account) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"PG") || name.as_bytes().starts_with(b"LC_") {
            command.env_remove(name);
        }
    }
    command
        .env("LC_ALL", "C")
        // The account may not be able to enter the folder that healer was started in.
        .current_dir("/")
        // Ctrl-C in the terminal is for healer, which stops the server in order.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    account.apply(&mut command);
    command
}
