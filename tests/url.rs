//! Where the database's address comes from, what it means, and what never shows.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use healer::database::url::{
    ConnectSettings, Place, RootCert, SslMode, Surroundings, TargetSession, UrlError, UrlSource, parse, resolve,
    resolve_direct,
};
use proptest::prelude::*;

struct World {
    variables: HashMap<String, OsString>,
    home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { variables: HashMap::new(), home: tempfile::tempdir().unwrap() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn look<T>(&self, f: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let variable = |name: &str| self.variables.get(name).cloned();
        f(&Surroundings {
            variable: &variable,
            home: Some(self.home.path().to_owned()),
            os_user: Some("operator".to_owned()),
            socket_directories: vec![self.home.path().to_owned()],
        })
    }

    fn resolve(&self) -> Result<ConnectSettings, UrlError> {
        self.look(|around| resolve(None, around))
    }

    fn parse(&self, text: &str) -> Result<ConnectSettings, UrlError> {
        self.look(|around| parse(text, UrlSource::Variable("DATABASE_URL"), around))
    }
}

fn read(text: &str) -> ConnectSettings {
    World::new().parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> UrlError {
    World::new().parse(text).expect_err(text)
}

/// Everything that anybody could print.
fn output(result: &Result<ConnectSettings, UrlError>) -> String {
    let mut all = String::new();
    match result {
        Ok(settings) => {
            write!(all, "{settings:?} {settings:#?} {} {}", settings.display_target(), settings.notes.join(" "))
                .unwrap();
            write!(all, "{}", settings.source).unwrap();
        }
        Err(error) => {
            write!(all, "{error} {error:?} {error:#?} {}", error.hint()).unwrap();
            let mut source = error.source();
            while let Some(cause) = source {
                write!(all, "{cause} {cause:?}").unwrap();
                source = cause.source();
            }
        }
    }
    all
}

fn password(settings: &ConnectSettings, value: &str) -> bool {
    settings.password.as_ref().is_some_and(|secret| secret.is(value))
}

#[test]
fn an_empty_environment_names_database_url_and_is_configuration() {
    let error = World::new().resolve().unwrap_err();
    assert_eq!(error.to_string(), "no database: DATABASE_URL is not set");
    assert_eq!(error.exit_code(), 78);
    assert!(error.hint().contains("DATABASE_URL="));
    let error = World::new().with("DATABASE_URL", " ").resolve().unwrap_err();
    assert_eq!(error, UrlError::NoSource { empty: true });
    assert!(World::new().with("PGPASSWORD", "x").resolve().is_err());
}

#[test]
fn the_flag_comes_before_the_file_variable_before_the_variable_before_pg_variables() {
    let mut world = World::new().with("PGHOST", "four").with("PGSSLMODE", "disable");
    assert_eq!(world.resolve().unwrap().display_target(), "four:5432/operator as operator");
    world = world.with("DATABASE_URL", "postgres://u@three/d");
    assert_eq!(world.resolve().unwrap().display_target(), "three:5432/d as u");
    let path = world.file("two", "\u{feff}postgres://u@two/d\r\n", 0o600);
    world = world.with("DATABASE_URL_FILE", path.to_str().unwrap());
    let settings = world.resolve().unwrap();
    assert_eq!(settings.display_target(), "two:5432/d as u");
    assert_eq!(settings.source, UrlSource::FileVariable(path));
    let path = world.file("one", "'postgresql://u@one/d'\n", 0o600);
    let settings = world.look(|around| resolve(Some(&path), around)).unwrap();
    assert_eq!(settings.display_target(), "one:5432/d as u");
    // What the string leaves open is filled from the environment, as libpq does.
    assert_eq!(settings.ssl_mode, SslMode::Disable);
}

#[test]
fn a_url_in_the_place_of_a_path_is_refused_without_being_repeated() {
    let world = World::new().with("DATABASE_URL_FILE", "postgres://u:sesame@h/d");
    let results = [world.resolve(), world.look(|around| resolve(Some(Path::new("host=h password=sesame")), around))];
    for result in results {
        assert!(matches!(result, Err(UrlError::FileIsUrl { .. })));
        assert!(!output(&result).contains("sesame"));
    }
    let missing = world.look(|around| resolve(Some(Path::new("/nowhere/url")), around)).unwrap_err();
    assert_eq!(missing.to_string(), "--database-url-file /nowhere/url: cannot be read: entity not found");
}

#[test]
fn a_path_with_an_at_sign_in_it_is_a_path_where_something_is_there() {
    let world = World::new();
    let path = world.file("healer@prod.service/url", "postgres://u@h/d\n", 0o600);
    let settings = world.look(|around| resolve(Some(&path), around)).unwrap();
    assert_eq!(settings.display_target(), "h:5432/d as u");
    assert!(settings.source.to_string().ends_with("healer@prod.service/url"), "{}", settings.source);
    let world = world.with("DATABASE_URL_FILE", path.to_str().unwrap());
    assert!(world.resolve().is_ok());
    // What is there and cannot be read is named too.
    let folder = path.parent().unwrap();
    let error = world.look(|around| resolve(Some(folder), around)).unwrap_err();
    assert!(error.to_string().contains("healer@prod.service: cannot be read"), "{error}");
    // Where nothing is it may be a password, and is not repeated.
    let result = world.look(|around| resolve(Some(&folder.join("se@same")), around));
    assert!(matches!(result, Err(UrlError::FileIsUrl { .. })) && !output(&result).contains("same"));
    // So it is with the folder of a socket.
    let folder = folder.to_str().unwrap().to_owned();
    assert_eq!(world.parse(&format!("host={folder} dbname=d")).unwrap().hosts[0].place, Place::Socket(folder.into()));
    let result = world.parse("host=/nowhere/se@same dbname=d");
    assert!(result.is_err() && !output(&result).contains("same"));
}

#[test]
fn wrappings_of_editors_and_shells_are_taken_off() {
    for text in [
        "postgres://u:p%40ss@h:6000/d",
        "postgresql://u:p%40ss@h:6000/d\n",
        "\"postgres://u:p%40ss@h:6000/d\"\r\n",
        "'postgresql://u:p%40ss@h:6000/d'",
        "\u{feff}  POSTGRES://u:p%40ss@h:6000/d/ ",
        "host=h port=6000 user=u password=p@ss dbname=d",
        "host = h port = 6000 user='u' password='p@ss' dbname = 'd' ",
    ] {
        let settings = read(text);
        assert_eq!(settings.display_target(), "h:6000/d as u", "{text}");
        assert!(password(&settings, "p@ss"), "{text}");
    }
}

#[test]
fn strings_of_other_kinds_are_explained() {
    for (text, words) in [
        ("export DATABASE_URL=postgres://u:sesame@h/d", "assignment"),
        ("psql 'postgres://u:sesame@h/d'", "psql"),
        ("jdbc:postgresql://h/d?password=sesame", "JDBC"),
        ("postgresql+asyncpg://u:sesame@h/d", "driver"),
        ("mysql://u:sesame@h/d", "not for Postgres"),
        ("'postgres://u:sesame@h/d", "quote"),
        ("sesame", "does not start with"),
        ("postgres://u:[YOUR-PASSWORD]@h/d", "placeholder"),
    ] {
        let error = refused(text);
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(!output(&Err(error)).contains("sesame"));
    }
}

#[test]
fn a_password_that_splits_the_url_is_refused_with_the_way_to_encode_it() {
    for (text, character) in [
        ("postgres://u:sesame@open@h/d", "`@`"),
        ("postgres://u:sesame#open@h/d", "`#`"),
        ("postgres://u:sesame/open@h/d", "`/`"),
        ("postgres://u:sesame?open=word@h/d", "`?`"),
        ("postgres://u:sesame%open@h/d", "`%`"),
        ("postgres://u:sesame open@h/d", "space"),
        ("postgres://u%3Asesame@h/d", "`:`"),
        ("postgres://u:a@sesame@open/x?y=z@h#d", "`/`"),
    ] {
        let error = refused(text);
        assert!(error.to_string().contains(&format!("unencoded {character}")), "{text}: {error}");
        assert!(error.hint().contains("@ is %40"));
        let all = output(&Err(error));
        assert!(!all.contains("sesame") && !all.contains("open") && !all.contains("word@"), "{all}");
    }
    assert!(password(&read("postgres://u:a:b;c!*+@h/d"), "a:b;c!*+"));
}

#[test]
fn hosts_are_names_addresses_lists_and_sockets() {
    for (text, target) in [
        ("postgres://h", "h:5432/operator as operator"),
        ("postgres://u@h", "h:5432/u as u"),
        ("postgres://[::1]:6000/d", "[::1]:6000/d as operator"),
        ("postgres://a,b:6000,[fe80::1]/d", "a:5432,b:6000,[fe80::1]:5432/d as operator"),
        ("postgres://my_db-1.example.com/d", "my_db-1.example.com:5432/d as operator"),
        ("postgres://%2Fvar%2Frun%2Fpostgresql/d", "/var/run/postgresql:5432/d as operator"),
        ("postgres://u@localhost/d?host=/cloudsql/p:r:i", "/cloudsql/p:r:i:5432/d as u"),
        ("postgres:///d?host=/var/run/postgresql&port=6000", "/var/run/postgresql:6000/d as operator"),
        ("postgres:///d", "localhost:5432/d as operator"),
        ("hostaddr=127.0.0.1 dbname=d", "127.0.0.1:5432/d as operator"),
        ("host=a,b port=1,2", "a:1,b:2/operator as operator"),
    ] {
        assert_eq!(read(text).display_target(), target);
    }
    for text in [
        "postgres://h:x/d",
        "postgres://h:0/d",
        "postgres://h:70000/d",
        "postgres://::1/d",
        "postgres://[::1/d",
        "postgres://[fe80::1%25eth0]/d",
        "host=h,fe80::1%eth0",
        "postgres://a<b/d",
    ] {
        assert_eq!(refused(text).exit_code(), 78);
    }
    // The driver would dial the address without it, which leads nowhere.
    assert!(refused("postgres://[fe80::1%25eth0]/d").to_string().contains("has a zone"));
}

#[test]
fn without_a_host_a_socket_is_used_where_there_is_one() {
    let world = World::new();
    let _listener = std::os::unix::net::UnixListener::bind(world.home.path().join(".s.PGSQL.5432")).unwrap();
    let settings = world.parse("postgres:///d").unwrap();
    assert_eq!(settings.hosts[0].place, Place::Socket(world.home.path().to_owned()));
}

#[test]
fn tls_is_required_of_other_machines_and_preferred_on_this_one() {
    for (text, mode) in [
        ("postgres://db.example.com/d", SslMode::Require),
        ("postgres://localhost,10.0.0.1/d", SslMode::Require),
        ("postgres://localhost/d", SslMode::Prefer),
        ("postgres://127.8.0.1/d", SslMode::Prefer),
        ("postgres://[::1]/d", SslMode::Prefer),
        ("postgres://%2Ftmp/d", SslMode::Prefer),
        ("postgres://h/d?sslmode=allow", SslMode::Prefer),
        ("postgres://h/d?sslmode=no-verify", SslMode::Require),
        ("postgres://h/d?ssl=true", SslMode::Require),
        ("postgres://h/d?ssl=false", SslMode::Disable),
        ("postgres://h/d?sslaccept=strict", SslMode::VerifyFull),
        ("postgres://h/d?sslrootcert=system", SslMode::VerifyFull),
        ("postgres://h/d?sslmode=verify-ca&sslrootcert=/ca.pem", SslMode::VerifyCa),
    ] {
        assert_eq!(read(text).ssl_mode, mode, "{text}");
    }
    assert_eq!(read("postgres://h/d?sslmode=verify-full").ssl_root_cert, Some(RootCert::System));
    assert!(refused("postgres://h/d?sslmode=verify-ca").to_string().contains("sslrootcert"));
    assert!(refused("postgres://h/d?sslmode=require&sslrootcert=system").to_string().contains("verify-full"));
    let world = World::new();
    let root = world.file(".postgresql/root.crt", "", 0o600);
    assert_eq!(world.parse("postgres://h/d").unwrap().ssl_root_cert, Some(RootCert::Path(root)));
}

#[test]
fn what_the_url_says_of_tls_in_other_words_counts_before_the_environment() {
    for (text, variable, mode) in [
        ("postgres://h/d?ssl=true", "disable", SslMode::Require),
        ("postgres://h/d?ssl=true", "prefer", SslMode::Require),
        ("postgres://h/d?ssl=false", "verify-full", SslMode::Disable),
        ("postgres://h/d?sslaccept=strict", "disable", SslMode::VerifyFull),
        ("postgres://h/d?sslaccept=strict", "prefer", SslMode::VerifyFull),
        ("postgres://h/d?sslaccept=strict", "require", SslMode::VerifyFull),
        ("postgres://h/d?ssl=true&sslaccept=strict", "disable", SslMode::VerifyFull),
        ("postgres://h/d?sslmode=require&sslaccept=strict", "disable", SslMode::VerifyFull),
        ("postgres://localhost/d?requiressl=1", "disable", SslMode::Require),
        // These ask for nothing.
        ("postgres://h/d?sslaccept=accept_invalid_certs", "verify-full", SslMode::VerifyFull),
        ("postgres://h/d?requiressl=0", "verify-full", SslMode::VerifyFull),
        ("postgres://h/d", "disable", SslMode::Disable),
    ] {
        let settings = World::new().with("PGSSLMODE", variable).parse(text).unwrap();
        assert_eq!(settings.ssl_mode, mode, "{text} under PGSSLMODE={variable}");
    }
    for text in [
        "postgres://h/d?sslmode=prefer&sslaccept=strict",
        "postgres://h/d?sslmode=disable&sslaccept=strict",
        "postgres://h/d?ssl=false&sslaccept=strict",
    ] {
        assert!(refused(text).to_string().contains("sslaccept: strict needs TLS"), "{text}");
    }
    for text in ["postgres://h/d?sslmode=disable&ssl=true", "postgres://h/d?ssl=true&sslmode=prefer"] {
        assert!(refused(text).to_string().contains("ssl: asks for TLS"), "{text}");
    }
    assert!(refused("postgres://h/d?ssl=sesame").to_string().contains("must be true or false"));
    assert!(refused("postgres://h/d?requiressl=yes").to_string().contains("must be 0 or 1"));

    // The service file stands between the two.
    let world = World::new().with("PGSSLMODE", "disable").with("PGSERVICE", "s");
    world.file(".pg_service.conf", "[s]\nhost=h\nsslaccept=strict\n", 0o600);
    assert_eq!(world.resolve().unwrap().ssl_mode, SslMode::VerifyFull);
    assert_eq!(world.parse("dbname=d sslmode=require").unwrap().ssl_mode, SslMode::Require);
    assert_eq!(world.parse("dbname=d ssl=false").unwrap().ssl_mode, SslMode::Disable);
    let world = World::new().with("PGREQUIRESSL", "1");
    assert_eq!(world.parse("postgres://localhost/d").unwrap().ssl_mode, SslMode::Require);
    assert_eq!(world.parse("postgres://localhost/d?sslmode=disable").unwrap().ssl_mode, SslMode::Disable);
}

#[test]
fn parameters_of_newer_versions_of_libpq_are_known() {
    let settings = read(
        "postgres://h/d?min_protocol_version=3.0&max_protocol_version=latest&sslkeylogfile=%2Fkeys\
         &oauth_issuer=https%3A%2F%2Fissuer&oauth_client_id=me&oauth_client_secret=sesame&oauth_scope=all",
    );
    assert_eq!(settings.notes.len(), 6, "{:?}", settings.notes);
    assert!(!output(&Ok(settings)).contains("sesame"));
    for (text, words) in [
        ("postgres://h/d?min_protocol_version=3.2", "version 3.0"),
        ("postgres://h/d?scram_client_key=sesame", "by a password"),
        ("postgres://h/d?scram_server_key=sesame", "by a password"),
    ] {
        let error = refused(text);
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(!output(&Err(error)).contains("sesame"));
    }
    assert!(World::new().with("PGMINPROTOCOLVERSION", "3.2").parse("postgres://h/d").is_err());

    let world = World::new();
    let file = world.file("services", "[s]\nhost=there\n", 0o600);
    let world = world.with("PGSERVICEFILE", "/nowhere");
    let settings = world.parse(&format!("service=s servicefile={}", file.display())).unwrap();
    assert_eq!(settings.display_target(), "there:5432/operator as operator");
    let missing = world.parse("service=s servicefile=/nowhere/sesame");
    assert!(missing.is_err() && !output(&missing).contains("sesame"));
    let nested = world.file("nested", "[s]\nservicefile=other\n", 0o600);
    let error = world.parse(&format!("service=s servicefile={}", nested.display())).unwrap_err();
    assert!(error.to_string().contains("cannot name another"), "{error}");
}

#[test]
fn parameters_of_other_programs_are_understood() {
    let settings = read(
        "postgres://u:p@aws-0.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1&pool_timeout=0\
         &schema=app&sslmode=verify-full&sslrootcert=%2Fca.pem&connect_timeout=3&application_name=night%20shift\
         &prepareThreshold=0&statement_timeout=5000&target_session_attrs=primary&keepalives_idle=7&options=-c%20a%3Db",
    );
    assert!(settings.pooler_hint);
    assert_eq!(settings.schema.as_deref(), Some("app"));
    assert_eq!(settings.ssl_mode, SslMode::VerifyFull);
    assert_eq!(settings.ssl_root_cert, Some(RootCert::Path("/ca.pem".into())));
    assert_eq!(settings.connect_timeout.as_secs(), 3);
    assert_eq!(settings.application_name, "night shift");
    assert_eq!(settings.target_session, TargetSession::ReadWrite);
    assert_eq!(settings.keepalives.unwrap().idle.as_secs(), 7);
    assert!(settings.options.as_ref().unwrap().is("-c a=b"));
    assert_eq!(settings.notes.len(), 3, "{:?}", settings.notes);
    let defaults = read("postgres://h/d");
    assert_eq!(defaults.application_name, "healer");
    assert_eq!(defaults.connect_timeout.as_secs(), 10);
    assert!(defaults.options.is_none() && !defaults.pooler_hint);
}

#[test]
fn an_unknown_parameter_is_named_only_when_it_nearly_is_a_known_one() {
    let error = refused("postgres://h/d?connect_timeout=1&sslmod=require");
    assert_eq!(error.to_string(), "DATABASE_URL: unknown parameter `sslmod` at position 2");
    assert_eq!(error.hint(), "did you mean `sslmode`?");
    let error = refused("host=h password=open sesame=x");
    assert_eq!(error.to_string(), "DATABASE_URL: unknown parameter at position 3");
    assert!(!output(&Err(error)).contains("sesame"));
    assert!(refused("postgres://h/d?sslmode=a&sslmode=b").to_string().contains("given twice"));
    assert!(refused("postgres://h/d?sslcrl=x").to_string().contains("not supported"));
    assert!(refused("postgres://h/d?sslmode=sesame").to_string().contains("must be disable"));
}

#[test]
fn the_password_file_is_read_as_libpq_reads_it() {
    let lines =
        "# comment\nother:*:*:*:no\nh:5432:d:other:no\nh:*:d:u:se\\:sa\\\\me\n*:*:*:*:last\nlocalhost:*:*:*:never\n";
    let world = World::new();
    let path = world.file(".pgpass", lines, 0o600);
    let found = |text: &str| {
        let settings = world.parse(text).unwrap();
        settings.hosts[0].password.clone()
    };
    assert!(found("postgres://u@h/d").unwrap().is("se:sa\\me"));
    assert!(found("postgres://u@elsewhere/d").unwrap().is("last"));
    assert!(found("postgres://u:given@h/d").is_none());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let settings = world.parse("postgres://u@h/d").unwrap();
    assert!(settings.hosts[0].password.is_none());
    assert!(settings.notes[0].contains("chmod 0600"));
    let elsewhere = world.file("elsewhere", "h:5432:d:u:there\n", 0o600);
    let world = world.with("PGPASSFILE", elsewhere.to_str().unwrap());
    assert!(world.parse("postgres://u@h/d").unwrap().hosts[0].password.as_ref().unwrap().is("there"));
}

#[test]
fn a_service_file_fills_what_is_open() {
    let world = World::new().with("PGSERVICE", "prod").with("PGUSER", "env");
    world.file(
        ".pg_service.conf",
        "# x\n[test]\nhost=no\n[prod]\nhost=db.example.com\nport=6000\npassword=sesame\n[z]\n",
        0o600,
    );
    let settings = world.resolve().unwrap();
    assert_eq!(settings.display_target(), "db.example.com:6000/env as env");
    assert!(password(&settings, "sesame"));
    world.file(".pg_service.conf", "[prod]\nhost=h\nsesame\n", 0o600);
    let result = world.resolve();
    assert!(result.as_ref().unwrap_err().to_string().ends_with("line 3: has no `=`"));
    assert!(!output(&result).contains("sesame"));
    world.file(".pg_service.conf", "[other]\n", 0o600);
    assert_eq!(world.resolve().unwrap_err().exit_code(), 78);
}

#[test]
fn the_direct_url_is_read_by_the_same_rules() {
    assert_eq!(World::new().look(resolve_direct).unwrap(), None);
    let world = World::new().with("DATABASE_DIRECT_URL", "postgres://u:p@@h/d");
    let error = world.look(resolve_direct).unwrap_err();
    assert!(error.to_string().starts_with("DATABASE_DIRECT_URL: "));
}

/// Letters that occur in no fixed text: one of them in an output is a leak. Pieces that steer the parsers stand between.
fn sharp_password() -> impl Strategy<Value = String> {
    let rare = "[ŧđħłøþßµæœŋĸ]{1,5}";
    let steering = prop::sample::select(vec![
        "@",
        "#",
        "/",
        "?",
        ":",
        "%",
        "&",
        "=",
        " ",
        "'",
        "\"",
        "\\",
        "[",
        "]",
        "%40",
        "%zz",
        "://",
        "//",
        ",",
        ";",
        "\n",
        "?host=",
        "&user=",
        " user=",
        " host=",
        " dbname=",
        " port=",
        "?sslmode=",
        "' user='",
        "@localhost:",
        ":5432/",
        "\t",
        "?sslrootcert=x&",
        " sslmode=",
        "?options=",
        "&ssl=",
        " service=s servicefile=",
        "?service=s&servicefile=",
    ]);
    prop::collection::vec((steering, rare), 1..6)
        .prop_map(|pieces| pieces.into_iter().flat_map(|(steering, rare)| [steering.to_owned(), rare]).collect())
}

fn leaks(text: &str) -> bool {
    text.chars().any(|c| "ŧđħłøþßµæœŋĸ".contains(c))
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").unwrap();
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_letter_of_a_raw_password_is_ever_shown(password in sharp_password()) {
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        for text in [
            format!("postgres://user:{password}@localhost:5432/database?sslmode=disable"),
            format!("postgresql://user:{password}@db.example.com/database"),
            format!("'postgres://user:{password}@h/database"),
            format!("host=h user=user dbname=database port=1 sslmode=disable password={password}"),
            format!("password={password} host=h user=user dbname=database port=1 sslmode=disable"),
            format!("password='{quoted}' host=h user=user dbname=database"),
            format!("user:{password}@h/database"),
            format!("mysql://user:{password}@h/database"),
        ] {
            let result = World::new().parse(&text);
            prop_assert!(!leaks(&output(&result)), "{} gave {}", text, output(&result));
        }
    }

    #[test]
    fn an_encoded_or_quoted_password_arrives_whole_and_is_never_shown(password in sharp_password()) {
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        for text in [
            format!("postgres://user:{}@localhost/database", encode(&password)),
            format!("postgres://user@localhost/database?password={}", encode(&password)),
            format!("host=localhost user=user password='{quoted}' dbname=database"),
        ] {
            let settings = World::new().parse(&text).unwrap();
            prop_assert!(settings.password.as_ref().unwrap().is(&password));
            prop_assert!(!leaks(&output(&Ok(settings))));
        }
    }

    #[test]
    fn files_and_variables_with_a_password_show_nothing_of_it(password in sharp_password()) {
        let world = World::new().with("PGHOST", "h").with("PGPASSWORD", &password);
        let result = world.resolve();
        prop_assert!(result.is_ok() && !leaks(&output(&result)));
        let world = World::new();
        let path = world.file("url", &format!("postgres://user:{password}@h/database"), 0o600);
        prop_assert!(!leaks(&output(&world.look(|around| resolve(Some(&path), around)))));
        let line = password.replace('\\', "\\\\").replace(':', "\\:");
        world.file(".pgpass", &format!("h:5432:database:user:{line}\n"), 0o600);
        let result = world.parse("postgres://user@h/database");
        prop_assert!(!leaks(&output(&result)));
        if !password.contains('\n') {
            prop_assert!(result.unwrap().hosts[0].password.as_ref().unwrap().is(&password));
        }
        world.file(".pg_service.conf", &format!("[s]\nhost=h\npassword={password}\nx{password}\n"), 0o600);
        prop_assert!(!leaks(&output(&world.parse("service=s"))));
    }
}

/// Random input never panics. `HEALER_FUZZ_CASES` sets how many.
#[test]
fn random_input_never_panics() {
    let cases = std::env::var("HEALER_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000_u64);
    let pieces = [
        "postgres://",
        "postgresql://",
        "host=",
        "user=",
        "password=",
        "port=",
        "sslmode=",
        "[",
        "]",
        "::1",
        "@",
        ":",
        "/",
        "?",
        "&",
        "=",
        "#",
        "%",
        "%4",
        "%00",
        "%ff",
        ",",
        "'",
        "\"",
        "\\",
        " ",
        "\n",
        "\0",
        "ŧ",
        "😀",
        "a",
        "5432",
        "-1",
        "\u{feff}",
        "service=",
        "require",
        "system",
        "sslrootcert=",
        "schema=",
        "“",
        "”",
    ];
    let world = World::new();
    // xorshift: the same inputs every time, so that a failure can be repeated.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).unwrap()
    };
    for _ in 0..cases {
        let mut text = String::new();
        for _ in 0..next(14) {
            text.push_str(pieces[next(pieces.len())]);
        }
        let result = world.parse(&text);
        assert!(!output(&result).is_empty());
    }
}
