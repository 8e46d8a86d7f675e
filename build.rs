//! Links the unwinder into the binary, so that libc is the only library that it asks the system for.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CC");
    let of_target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    // A compiler for another machine would name the unwinder of this one.
    let native = std::env::var("HOST").ok() == std::env::var("TARGET").ok();
    if of_target("OS") != "linux" || of_target("ENV") != "gnu" || !native {
        return;
    }
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let asked = std::process::Command::new(compiler).arg("-print-file-name=libgcc_eh.a").output();
    let path = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    // What is not found is repeated as it was asked for. Without it the shared one is used, as everywhere else.
    if std::path::Path::new(path.trim()).is_absolute() {
        println!("cargo:rustc-link-arg-bins=-Wl,--whole-archive,{},--no-whole-archive", path.trim());
    }
}
